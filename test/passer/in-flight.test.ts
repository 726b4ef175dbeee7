import assert from 'node:assert/strict';
import { FdPasser } from 'fdpasser';
import type { Stuck } from './children/in-flight-send.js';
import { ended, message, startChild } from '../support/child.js';
import { identity } from '../support/descriptors.js';
import { test } from '../support/test.js';

test('a sender at its limit of descriptors in flight waits idly, and then sends the rest in order', async () => {
  const COUNT = 1000;
  const LIMIT = 64;
  const passer = new FdPasser();
  const child = startChild('passer/in-flight-send', { peer: passer.peer, descriptors: LIMIT });
  passer.iAmParent();
  const end = ended(child);
  const { sent, busy } = await message<Stuck>(child);
  const report = message<string[]>(child);
  // Far fewer than the socket has room for, so the limit stopped it.
  assert.ok(sent > 0 && sent <= 2 * LIMIT, `${sent} were sent`);
  assert.ok(busy < 0.1, `used ${100 * busy} % of a processor`);

  const received: string[] = [];
  for await (const fd of passer) {
    received.push(identity(fd.fd));
    fd.close();
  }
  const files = await report;
  assert.deepEqual(
    received,
    Array.from({ length: COUNT }, (_, i) => files[i % files.length]),
  );
  assert.deepEqual(await end, { code: 0, signal: null, stdout: '', stderr: '' });
});
