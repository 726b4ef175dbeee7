import assert from 'node:assert/strict';
import { constants, openSync } from 'node:fs';
import { FdPasser, OwnedFd, socketpair } from 'fdpasser';
import { ended, startChild } from '../support/child.js';
import { O_NONBLOCK, anonymousFile, flagsOf } from '../support/descriptors.js';
import { TOO_MANY, pushFiles, receiveFiles, turns } from '../support/passing.js';
import { test } from '../support/test.js';

const nonblocking = (fd: number): boolean => (flagsOf(fd) & O_NONBLOCK) !== 0;

/**
 * Passes descriptors to a child and back, and closes them. Returns what was non-blocking in the child: its socket
 * before and after it made a passer of it, and the received descriptors.
 */
async function inChild(passer: FdPasser, how: 'set' | 'leave', fds: OwnedFd[]): Promise<unknown[]> {
  const child = startChild('descriptor/flags', { args: [how], peer: passer.peer });
  passer.iAmParent();
  const reports: unknown[] = [];
  child.on('message', (report) => reports.push(report));
  const end = ended(child);
  for (const fd of fds) {
    const before = nonblocking(fd.fd);
    passer.pushSendFh(fd, { keepOpen: true });
    using back = await passer.receive();
    assert.deepEqual([nonblocking(back.fd), nonblocking(fd.fd)], [before, before]);
    fd.close();
  }
  await passer.close();
  const { code, signal, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  return reports;
}

for (const [what, dontSetNonblocking] of [
  ['are non-blocking', false],
  ['stay blocking with dontSetNonblocking', true],
] as const)
  test(`the sockets of a passer ${what}, in a spawned child too`, async () => {
    const [a, b] = socketpair();
    const mine = a.dup();
    const passer = new FdPasser({ fh: [a, b], dontSetNonblocking });
    const expected = !dontSetNonblocking;
    assert.deepEqual([nonblocking(mine.fd), nonblocking(passer.peer.fd)], [expected, expected]);
    // The child sees its own end twice, and then ours.
    assert.deepEqual(await inChild(passer, 'leave', [mine]), [expected, expected, expected]);
  });

test('a child sets its end non-blocking, and not that of its parent', async () => {
  const [a, b] = socketpair();
  const mine = a.dup();
  const passer = new FdPasser({ fh: [a, b], dontSetNonblocking: true });
  assert.deepEqual(await inChild(passer, 'set', [mine]), [false, true, false]);
});

test('sockets already non-blocking stay so with dontSetNonblocking', async () => {
  const [a, b] = socketpair();
  using copy = a.dup();
  new FdPasser({ fh: a.dup() }).destroy();
  assert.deepEqual([nonblocking(a.fd), nonblocking(b.fd)], [true, false]);
  const passer = new FdPasser({ fh: [a, b], dontSetNonblocking: true });
  assert.deepEqual([nonblocking(copy.fd), nonblocking(passer.peer.fd)], [true, false]);
  passer.destroy();
});

test('a passer over blocking sockets does not block', async () => {
  const [a, b] = socketpair();
  const copies = [a.dup(), b.dup()];
  const one = new FdPasser({ fh: a, dontSetNonblocking: true });
  const other = new FdPasser({ fh: b, dontSetNonblocking: true });
  const early = other.receive();
  const files = pushFiles(one, TOO_MANY);
  await turns();
  (await early).close();
  assert.deepEqual(await receiveFiles(other, TOO_MANY - 1), files.slice(1));
  for (const copy of copies) {
    assert.equal(nonblocking(copy.fd), false);
    copy.close();
  }
  one.destroy();
  other.destroy();
});

test('passed descriptors stay non-blocking or blocking, as they were', async () => {
  const { O_RDWR, O_NONBLOCK: flag } = constants;
  const [a, b] = socketpair();
  const [c, d] = socketpair();
  new FdPasser({ fh: c.dup() }).destroy(); // makes it non-blocking
  const opened = ['/dev/null', '/dev/ptmx'].flatMap((path) => [openSync(path, O_RDWR), openSync(path, O_RDWR | flag)]);
  const fds = [a, c, ...[...opened, anonymousFile()].map((fd) => new OwnedFd(fd))];
  const expected = [false, true, false, true, false, true, false];
  assert.deepEqual(
    fds.map((fd) => nonblocking(fd.fd)),
    expected,
  );
  assert.deepEqual(await inChild(new FdPasser(), 'leave', fds), [true, true, ...expected]);
  b.close();
  d.close();
});
