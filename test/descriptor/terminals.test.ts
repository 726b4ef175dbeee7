import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { ReadStream, WriteStream } from 'node:tty';
import { FdPasser, socketpair, type OwnedFd } from 'fdpasser';
import { until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';

/** Opens pseudo-terminals, and sends both ends of each, and one that is open for writing alone. */
const OPENER = `
import os, socket, sys, tty
peer = socket.socket(fileno=3)
for _ in range(int(sys.argv[1])):
    master, slave = os.openpty()
    tty.setraw(slave)
    for fd in (master, slave): os.set_blocking(fd, sys.argv[2] == 'true')
    writer = os.open(os.ttyname(slave), os.O_WRONLY | os.O_NOCTTY)
    for fd in (master, slave, writer): socket.send_fds(peer, [b'x'], [fd])
`;

type Terminal = [master: OwnedFd, slave: OwnedFd, writer: OwnedFd];

async function terminals(count: number, blocking: boolean): Promise<Terminal[]> {
  needs('python3');
  const passer = new FdPasser();
  const args = ['-c', OPENER, String(count), String(blocking)];
  const python = spawn('python3', args, { stdio: ['ignore', 'inherit', 'inherit', passer.peer.fd] });
  const closed = once(python, 'close');
  passer.iAmParent();
  const all: Terminal[] = [];
  while (all.length < count) all.push([await passer.receive(), await passer.receive(), await passer.receive()]);
  assert.deepEqual(await closed, [0, null]);
  await passer.close();
  return all;
}

async function terminal(blocking = true): Promise<Terminal> {
  const [only] = await terminals(1, blocking);
  return only!;
}

async function reads(stream: Readable, bytes: string): Promise<void> {
  let got = '';
  while (got.length < bytes.length) {
    const more = stream.read() as Buffer | null;
    if (more === null) await once(stream, 'readable');
    else got += more.toString();
  }
  assert.equal(got, bytes);
}

for (const [index, end] of ['master', 'slave'].entries()) {
  for (const blocking of [true, false]) {
    const which = `a ${blocking ? 'blocking' : 'non-blocking'} terminal's ${end}`;

    test(`${which} becomes a stream of node:tty, and ends in order when the other hangs up`, async () => {
      for (const method of ['toTty', 'createReadStream'] as const) {
        const fds = await terminal(blocking);
        fds[2].close();
        const stream = fds[index]![method]() as ReadStream;
        assert.ok(stream instanceof ReadStream && stream.isTTY);
        assert.equal(fds[index]!.closed, true);
        const other = fds[1 - index]!.createWriteStream();
        assert.ok(other instanceof WriteStream);
        other.write('late');
        await reads(stream, 'late');
        const closed = once(stream, 'close');
        other.destroy();
        assert.equal(await text(stream), '');
        await closed;
        assert.equal(stream.errored, null);
      }
    });

    test(`${which} that nobody reads lets the event loop turn, and takes all bytes in the end`, async () => {
      const fds = await terminal(blocking);
      fds[2].close();
      const bytes = 'x'.repeat(300_000);
      const stream = fds[index]!.toTty();
      const writers: Writable[] = [stream];
      let written = 0;
      stream.write(bytes.slice(0, 100_000));
      stream.write(bytes.slice(0, 200_000), () => written++);
      for (let i = 0; i < 10; i++) await turn();
      assert.equal(written, 0);
      const reader = fds[1 - index]!.createReadStream();
      await reads(reader, bytes);
      await until(() => written === 1);
      for (const each of [...writers, reader]) each.destroy();
    });
  }
}

test('quiet terminals do not occupy the threads for files', async () => {
  for (const blocking of [true, false]) {
    const several = await terminals(5, blocking);
    const streams = several.flatMap(([master, slave]) => [master.createReadStream(), slave.createReadStream()]);
    const failed: unknown[] = [];
    for (const stream of streams) stream.on('error', (error) => failed.push(error)).resume();
    assert.ok((await stat('/')).isDirectory());
    assert.deepEqual(failed, []);
    for (const stream of streams) stream.destroy();
    for (const [, , writer] of several) writer.close();
  }
});

test('a terminal has no positions, and is read and written as it was opened', async () => {
  const [master, slave, writer] = await terminal();
  const refused = { code: 'ERR_INVALID_ARG_VALUE' };
  assert.throws(() => slave.createReadStream({ start: 0 }), refused);
  assert.throws(() => slave.createReadStream({ end: 1 }), refused);
  assert.throws(() => slave.createWriteStream({ start: 0 }), refused);
  assert.throws(() => writer.createReadStream(), { code: 'ERR_FDPASSER_WRONG_KIND' });
  assert.deepEqual([slave.kind, writer.kind], ['tty', 'tty']);
  const made = writer.toTty();
  assert.ok(made instanceof WriteStream);
  const terminalStream = slave.toTty() as ReadStream;
  terminalStream.setRawMode(true).setRawMode(false);
  const reader = master.createReadStream({ encoding: 'utf8', highWaterMark: 10 });
  made.write('ä');
  assert.deepEqual(await once(reader, 'data'), ['ä']);
  for (const stream of [made, terminalStream, reader]) stream.destroy();
});

test('a stream of a terminal is sent on', async () => {
  const [master, slave, writer] = await terminal();
  const [near, far] = socketpair();
  await using from = new FdPasser({ fh: near });
  await using to = new FdPasser({ fh: far });
  const before = slave.toTty();
  before.write('before, ');
  await from.send(before);
  const after = (await to.receive()).toTty();
  after.write('after');
  const reader = master.createReadStream();
  await reads(reader, 'before, after');
  after.destroy();
  writer.close();
  assert.equal(await text(reader), '');
});
