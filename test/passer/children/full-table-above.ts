/**
 * Receives files over a stream or channel, as argv[2] says, and keeps all open until its table is full. Reports them.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { FdChannel, FdStream, type OwnedFd } from 'fdpasser';
import { identity, leftOpen, openDescriptors } from '../../support/descriptors.js';

export interface Report {
  received: string[];
  exhausted: number;
  resumed: number;
}

const before = openDescriptors();
before.delete(3);
const report: Report = { received: [], exhausted: 0, resumed: 0 };
const kept: OwnedFd[] = [];

function keep(fds: OwnedFd[]): void {
  kept.push(...fds);
  report.received.push(...fds.map(({ fd }) => identity(fd)));
}

function exhausted(): void {
  report.exhausted++;
  for (const fd of kept.splice(0)) fd.close();
}

if (process.argv[2] === 'stream') {
  const stream = new FdStream(3);
  stream.on('fds', keep).on('exhausted', exhausted);
  stream.on('resumed', () => report.resumed++);
  await once(stream.resume(), 'close');
} else {
  const channel = FdChannel.inherit(3, { maxFds: 10 }); // fewer than there is ever room for
  channel.on('exhausted', exhausted).on('resumed', () => report.resumed++);
  for await (const { fds } of channel) keep(fds);
}
for (const fd of kept) fd.close();
assert.deepEqual(leftOpen(before), []);
process.send!(report, () => process.disconnect());
