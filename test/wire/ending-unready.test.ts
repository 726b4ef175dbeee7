/** The peer ends while the first in the queue is not ready to be sent. */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { FdChannel, FdPasser, FdStream, socketpair } from 'fdpasser';
import { RawPeer, TYPES } from '../support/channels.js';
import { anonymousFile, identity, until } from '../support/descriptors.js';
import { observed, pushFiles, receiveFiles, turns } from '../support/passing.js';
import { test } from '../support/test.js';
import { unready } from '../support/unready.js';

const GONE = { code: 'EPIPE', syscall: 'sendmsg' };

for (const type of TYPES) {
  test(`a passer ends with its peer although the first in line is not ready, over a ${type} socket`, async () => {
    const [a, b] = socketpair({ type });
    const [passer, life] = observed({ fh: a });
    const { socket, release } = await unready();
    const fd = anonymousFile();
    const file = identity(fd);
    const refused = [
      assert.rejects(passer.send(socket), GONE),
      assert.rejects(passer.send(fd), GONE),
      assert.rejects(passer.receive(), GONE),
    ];
    await turns();
    b.close();
    await Promise.all(refused);
    await life.over();
    assert.deepEqual([life.reports.length, life.closes], [1, 1]);
    assert.equal((life.reports[0] as NodeJS.ErrnoException).code, 'EPIPE');
    assert.equal(socket.destroyed, false);
    assert.equal(identity(fd), file);
    closeSync(fd);
    release();
  });

  test(`close() ends with the peer although the first in line is not ready, over a ${type} socket`, async () => {
    const [a, b] = socketpair({ type });
    const [passer, life] = observed({ fh: a });
    const { socket, release } = await unready();
    const refused = assert.rejects(passer.send(socket), GONE);
    passer.pushSendFh(anonymousFile());
    const closed = passer.close();
    await turns();
    b.close();
    await Promise.all([refused, closed]);
    assert.equal(life.reports.length, 1);
    release();
  });

  test(`messages in front of the peer's end do not hide the end from a send that is not ready: ${type}`, async () => {
    const [a, b] = socketpair({ type });
    const [passer, life] = observed({ fh: a });
    const peer = new FdPasser({ fh: b });
    const files = pushFiles(peer, 2);
    await turns(); // the passer has noticed that something is there, and stops watching
    const { socket, release } = await unready();
    const refused = assert.rejects(passer.send(socket), GONE);
    await peer.close();
    await refused;
    assert.equal(life.closes, 0);
    assert.deepEqual(await receiveFiles(passer, 2), files);
    await life.over();
    assert.equal(life.reports.length, 1);
    release();
  });

  test(`a channel ends with its peer although the first in line is not ready, over a ${type} socket`, async () => {
    const [a, b] = socketpair({ type });
    const reports: (Error | undefined)[] = [];
    const channel = new FdChannel(a, { onError: (error) => reports.push(error) });
    const other = new FdChannel(b);
    await Promise.all([channel.send('before'), other.receive()]);
    const { socket, release } = await unready();
    const fd = anonymousFile();
    const refused = [channel.send('x', [socket]), channel.send('y', [fd], { confirm: true }), channel.receive()].map(
      (waiting) => assert.rejects(waiting, { code: 'ERR_FDPASSER_CLOSED' }),
    );
    await turns();
    other.destroy();
    await Promise.all(refused);
    await channel.close();
    assert.equal(reports.length, 1);
    closeSync(fd);
    release();
  });
}

test('a stream ends with its peer although what is to be written is not ready', async () => {
  for (const allowHalfOpen of [false, true]) {
    const [a, b] = socketpair();
    const stream = new FdStream(a, { allowHalfOpen });
    const errors: NodeJS.ErrnoException[] = [];
    stream.on('error', (error) => errors.push(error)).resume();
    const { socket, release } = await unready();
    const written = new Promise((resolve) => stream.writeWithFds(Buffer.from('x'), [socket], {}, resolve));
    await turns();
    b.close();
    assert.equal(((await written) as NodeJS.ErrnoException).code, 'EPIPE');
    await until(() => stream.closed);
    assert.deepEqual(
      errors.map(({ code }) => code),
      ['EPIPE'],
    );
    release();
  }
});

test('a peer that shut down its writing first, and then goes, ends a passer whose first in line is not ready', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const peer = new RawPeer(b);
  const { socket, release } = await unready();
  const refused = assert.rejects(passer.send(socket), GONE);
  peer.endSending();
  await turns();
  assert.equal(life.closes, 0);
  peer.close();
  await refused;
  await life.over();
  release();
});
