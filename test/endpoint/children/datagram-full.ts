/** Receives one datagram at the path argv[2], having filled its table before it comes, and reports what it brought. */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { listen, receiveDatagram } from 'fdpasser';
import { identity, leftOpen, openDescriptors } from '../../support/descriptors.js';
import { fillTable } from '../../support/fill-table.js';

process.on('warning', () => {}); // that the table is full
const before = openDescriptors();
const server = listen(process.argv[2]!, { type: 'dgram' });
let received = false;
const receiving = receiveDatagram(server).finally(() => (received = true));
const filler = fillTable();
process.send!('full');
await new Promise((resolve) => process.once('message', resolve)); // it was sent
for (let i = 0; i < 5; i++) await turn();
closeSync(filler.pop()!);
for (let i = 0; i < 5; i++) await turn();
assert.equal(received, false); // it brings two

closeSync(filler.pop()!);
const { bytes, fds } = await receiving;
const report = [bytes.toString(), ...fds.map(({ fd }) => identity(fd))];
for (const fd of fds) fd.close();
for (const fd of filler) closeSync(fd);
server.close();
assert.deepEqual(leftOpen(before), []);
process.send!(report, () => process.disconnect());
