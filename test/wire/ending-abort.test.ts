/** What an aborted send leaves behind it. */
import assert from 'node:assert/strict';
import { socketpair } from 'fdpasser';
import { channels, RawPeer, TYPES } from '../support/channels.js';
import { ended, startChild } from '../support/child.js';
import { anonymousFile, identity } from '../support/descriptors.js';
import { TOO_MANY, connected, observed, pushFiles, receiveFiles, turns } from '../support/passing.js';
import { test } from '../support/test.js';
import { unready } from '../support/unready.js';

const ABORTED = { name: 'AbortError' };

test('sends behind an aborted send that was not ready are sent: passer', async () => {
  for (const type of ['stream', 'seqpacket', 'dgram'] as const) {
    const [one, other] = connected({ type });
    const { socket, release } = await unready();
    const control = new AbortController();
    const aborted = one.send(socket, { signal: control.signal });
    const files = pushFiles(one, 2);
    await turns();
    control.abort();
    await assert.rejects(aborted, ABORTED);
    assert.deepEqual(await receiveFiles(other, 2), files);
    release();
    await Promise.all([one.close(), other.close()]);
  }
});

for (const type of TYPES) {
  test(`sends behind an aborted send that was not ready are sent: channel, ${type}`, async () => {
    const [one, other] = channels<string>({ type });
    const { socket, release } = await unready();
    await Promise.all([one.send('before'), other.receive()]);
    const control = new AbortController();
    const aborted = one.send('aborted', [socket], { signal: control.signal });
    const fd = anonymousFile();
    const file = identity(fd);
    const behind = one.send('behind', [fd], { confirm: true });
    await turns();
    control.abort();
    await assert.rejects(aborted, ABORTED);
    using message = await other.receive();
    assert.deepEqual([message.value, identity(message.fds[0]!.fd)], ['behind', file]);
    await behind;
    release();
    await Promise.all([one.close(), other.close()]);
  });

  test(`a message that fits the window is sent when the one before it, which did not fit, is aborted: ${type}`, async () => {
    const [one, other] = channels<string>({ type, maxMessageBytes: 100_000 });
    await one.send('waits there');
    const control = new AbortController();
    const aborted = one.send('x'.repeat(70_000), [], { signal: control.signal });
    const behind = one.send('behind');
    await turns();
    control.abort();
    await assert.rejects(aborted, ABORTED);
    await behind;
    for (const value of ['waits there', 'behind']) assert.equal((await other.receive()).value, value);
    await Promise.all([one.close(), other.close()]);
  });
}

test('close() ends when the last that it waited for is aborted', async () => {
  const [one, other] = connected();
  const { socket, release } = await unready();
  const control = new AbortController();
  const aborted = one.send(socket, { signal: control.signal });
  await turns();
  const closed = one.close();
  control.abort();
  await assert.rejects(aborted, ABORTED);
  await closed;
  assert.equal(socket.destroyed, false);
  release();
  await other.close();
});

test('a passer whose peer has shut down its writing ends when its last send is aborted', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  using peer = new RawPeer(b);
  const { socket, release } = await unready();
  const control = new AbortController();
  const aborted = passer.send(socket, { signal: control.signal });
  const refused = assert.rejects(passer.receive(), { code: 'ERR_FDPASSER_CLOSED' });
  peer.endSending();
  await turns();
  assert.equal(life.closes, 0);
  control.abort();
  await assert.rejects(aborted, ABORTED);
  await refused;
  await life.over();
  assert.deepEqual(life.reports, [undefined]);
  release();
});

test('a process ends although its passer is open, once the sends that filled the socket are aborted', async () => {
  const [a, b] = socketpair();
  const end = await ended(startChild('wire/ending-abort', { peer: b, args: [String(TOO_MANY)] }));
  assert.deepEqual(end, { code: 0, signal: null, stdout: '', stderr: '' });
  a.close();
  b.close();
});
