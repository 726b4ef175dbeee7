/**
 * Receives three descriptors as 0, 1 and 2; sends them back from there; sends three files of its own, by number, from
 * there; and exchanges descriptors over a socket that is number 0. Reports the identities received, then those of its
 * own.
 */
import assert from 'node:assert/strict';
import { closeSync, fstatSync } from 'node:fs';
import { FdPasser, socketpair, type OwnedFd } from 'fdpasser';
import { anonymousFile, identity } from '../../support/descriptors.js';
import { exchange } from '../../support/exchange.js';

const LOW = [0, 1, 2];
const passer = FdPasser.inherit();
for (const fd of LOW) closeSync(fd);
const received: OwnedFd[] = [];
for (const _ of LOW) received.push(await passer.receive());
assert.deepEqual(
  received.map(({ fd }) => fd),
  LOW,
);
const identities = LOW.map(identity);
await Promise.all(received.map((fd) => passer.send(fd)));
for (const fd of LOW) assert.throws(() => fstatSync(fd), { code: 'EBADF' });

const own = LOW.map(anonymousFile);
assert.deepEqual(own, LOW);
identities.push(...own.map(identity));
await Promise.all(own.map((fd) => passer.send(fd)));
for (const fd of LOW) assert.throws(() => fstatSync(fd), { code: 'EBADF' });

const [a, b] = socketpair();
assert.deepEqual([a.fd, b.fd], [0, 1]);
{
  await using one = new FdPasser({ fh: a.take() });
  await using other = new FdPasser({ fh: b });
  await exchange(one, other, 50);
}
for (const fd of LOW) assert.throws(() => fstatSync(fd), { code: 'EBADF' });

await passer.close();
process.send!(identities, () => process.disconnect());
