import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { FdPasser } from 'fdpasser';
import type { Report } from './children/table-growth.js';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, closeAll, identity } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** An upper bound of what Node itself has open. */
const OWN = 50;
const available = Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))![1]);
const many = Math.min(available, 20_000);

for (const { limit, count, batch } of [
  { limit: many, count: Math.min(many - OWN, 6000), batch: 1 },
  { limit: many, count: Math.min(many - OWN, 6000), batch: 253 },
  { limit: 300, count: 300 - OWN, batch: 1 },
  { limit: 300, count: 300 - OWN, batch: 20 },
])
  test(`${count} descriptors kept open under a limit of ${limit} arrive in order, up to ${batch} a message`, async () => {
    const FILES = 100;
    const passer = new FdPasser({ batch });
    const child = startChild('native/table-growth', { peer: passer.peer, descriptors: limit, args: [`${count}`] });
    passer.iAmParent();
    const end = ended(child);
    const report = message<Report>(child);
    const fds = Array.from({ length: FILES }, anonymousFile);
    const files = fds.map(identity);
    for (let i = 0; i < count; i++) passer.pushSendFh(fds[i % FILES]!, { keepOpen: true });
    const { received, highest } = await report;
    assert.deepEqual(
      received,
      Array.from({ length: count }, (_, i) => files[i % FILES]),
    );
    assert.ok(highest >= count, `the highest was ${highest}`);
    assert.deepEqual(await end, { code: 0, signal: null, stdout: '', stderr: '' });
    await passer.close();
    closeAll(fds);
  });
