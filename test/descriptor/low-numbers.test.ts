import assert from 'node:assert/strict';
import { FdPasser } from 'fdpasser';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, identity } from '../support/descriptors.js';
import { test } from '../support/test.js';

test('descriptors 0, 1 and 2 are received, sent, and passed over like any others', async () => {
  const passer = new FdPasser();
  // With so few numbers its table never grows, so no thread of the library takes a low number for a moment.
  const child = startChild('descriptor/low-numbers', { peer: passer.peer, descriptors: 200 });
  passer.iAmParent();
  const end = ended(child);
  const report = message<string[]>(child);
  const sent = Array.from({ length: 3 }, () => {
    const fd = anonymousFile();
    const id = identity(fd);
    passer.pushSendFh(fd);
    return id;
  });
  const back: string[] = [];
  for await (const fd of passer) {
    back.push(identity(fd.fd));
    fd.close();
  }
  const identities = await report;
  assert.deepEqual(identities.slice(0, 3), sent);
  assert.equal(identities.length, 6);
  assert.deepEqual(back, identities);
  assert.deepEqual(await end, { code: 0, signal: null, stdout: '', stderr: '' });
});
