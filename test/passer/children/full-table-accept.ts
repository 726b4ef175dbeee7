/** Accepts 6 connections at the path argv[2] while its table is full, and reports what came over each. */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { FdPasser, listen, type OwnedFd } from 'fdpasser';
import { identity, leftOpen, openDescriptors } from '../../support/descriptors.js';
import { fillTable } from '../../support/fill-table.js';

const before = openDescriptors();
const server = listen(process.argv[2]!);
process.send!('listening');
await new Promise((resolve) => process.once('message', resolve)); // all are connected

const filler = fillTable();
const accepted: OwnedFd[] = [];
const accepting = Array.from({ length: 6 }, async () => accepted.push(await server.accept()));
// The loop polls between two turns, so by now it has found the listener readable.
for (let i = 0; i < 5; i++) await turn();
assert.equal(accepted.length, 0);

for (let i = 1; i <= accepting.length; i++) {
  closeSync(filler.pop()!);
  await Promise.race(accepting.slice(i - 1));
  assert.equal(accepted.length, i);
}
for (const fd of filler) closeSync(fd);

const received: string[] = [];
for (const connection of accepted) {
  await using passer = new FdPasser({ fh: connection });
  using fd = await passer.receive();
  received.push(identity(fd.fd));
}
server.close();
assert.deepEqual(leftOpen(before), []);
process.send!(received, () => process.disconnect());
