import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FdChannel, socketpair } from 'fdpasser';
import { encodeHello, encodeTaken } from '#dist/channel/frames.js';
import { addon } from '#dist/native/load.js';
import { channelAndPeer, channels, HELLO, TYPES } from '../support/channels.js';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, identity, until } from '../support/descriptors.js';
import { encodeMessage } from '../support/frames.js';
import { test } from '../support/test.js';

const CLOSED = { code: 'ERR_FDPASSER_CLOSED' };

/** What `onError` says of a channel, each time it is called. */
function watched(): { said: (Error | undefined)[]; onError: (error: Error | undefined) => void } {
  const said: (Error | undefined)[] = [];
  return { said, onError: (error) => void said.push(error) };
}

function json(value: unknown, fds = 0): Buffer {
  return encodeMessage(Buffer.from(JSON.stringify(value)), fds, false)[0]!.bytes;
}

test('a closing channel drops what comes meanwhile, and closes when the peer ends', async () => {
  const [channel, peer] = channelAndPeer();
  peer.hello({ window: 1 });
  await channel.send('fills the window');
  const refused = assert.rejects(channel.send('waits'), CLOSED);
  const whenClosed = channel.close();
  const [kept, sent] = socketpair();
  peer.send(json('late', 1), [sent.fd]);
  sent.close();
  await until(() => addon.pending(kept.fd) === 0); // the other end is closed everywhere, but the channel still waits
  peer.close();
  await Promise.all([refused, whenClosed]);
  kept.close();
});

test('a channel that closes after a confirmation reports no error about what comes right behind it', async () => {
  const { said, onError } = watched();
  const [channel, peer] = channelAndPeer({ onError });
  peer.hello();
  const confirmed = channel.send('last', [], { confirm: true });
  await until(() => peer.receive().includes('last'));
  const whenClosed = channel.close();
  const fd = anonymousFile();
  peer.send(Buffer.concat([encodeTaken(1), json('late', 1)]), [fd]);
  await Promise.all([confirmed, whenClosed]);
  await nextTurn();
  assert.deepEqual(said, []);
  closeSync(fd);
  peer.close();
});

for (const type of TYPES) {
  test(`messages that arrived are still received after the peer closed, over a ${type} socket`, async () => {
    const { said, onError } = watched();
    const [a, b] = socketpair({ type });
    const one = new FdChannel<number>(a);
    const other = new FdChannel<number>(b, { onError });
    const sent = [0, 1, 2].map(() => anonymousFile());
    const identities = sent.map(identity);
    await Promise.all(sent.map((fd, i) => one.send(i, [fd])));
    await one.close();
    const received: string[] = [];
    for await (using message of other) {
      assert.equal(message.value, received.length);
      received.push(identity(message.fds[0]!.fd));
    }
    assert.deepEqual(received, identities);
    await other.close();
    assert.deepEqual(said, [undefined]);
  });

  test(`close() sends what is queued and waits for confirmations, over a ${type} socket`, async () => {
    const [one, other] = channels<string>({ type });
    const order: string[] = [];
    const confirmed = one.send('a', [anonymousFile()], { confirm: true }).then(() => order.push('confirmed'));
    const whenClosed = one.close().then(() => order.push('closed'));
    {
      using message = await other.receive();
      assert.equal(message.value, 'a');
      order.push('taken');
    }
    await Promise.all([confirmed, whenClosed]);
    assert.deepEqual(order, ['taken', 'confirmed', 'closed']);
    await other.close();
  });

  test(`two channels that close with confirmations outstanding do not wait for each other, over a ${type} socket`, async () => {
    const [one, other] = channels<string>({ type });
    const fds = [anonymousFile(), anonymousFile()] as const;
    const refused = [
      assert.rejects(one.send('a', [fds[0]], { confirm: true }), CLOSED),
      assert.rejects(other.send('b', [fds[1]], { confirm: true }), CLOSED),
    ];
    await Promise.all([one.send('sent'), other.send('sent')]);
    await Promise.all([one.close(), other.close()]);
    await Promise.all(refused);
    for (const fd of fds) closeSync(fd);
  });

  test(`two channels that close while both wait for the window do not wait for each other, over a ${type} socket`, async () => {
    const [one, other] = channels<string>({ type, highWaterMark: 1 });
    await Promise.all([one.send('fills it'), other.send('fills it')]);
    const fds = [anonymousFile(), anonymousFile()] as const;
    const waiting = [
      one.send('waits', [fds[0]]),
      other.request('waits', [fds[1]]),
      one.send('waits, too', [], { confirm: true }),
    ];
    const outcomes = Promise.allSettled(waiting);
    await Promise.all([one.close(), other.close()]);
    for (const outcome of await outcomes)
      assert.equal(outcome.status === 'rejected' && outcome.reason.code, CLOSED.code);
    for (const fd of fds) closeSync(fd);
  });

  test(`messages that wait when their sender closes can still be taken, and are confirmed, over a ${type} socket`, async () => {
    const [one, other] = channels<number>({ type });
    const sends = [1, 2, 3].map((i) => one.send(i, [anonymousFile()], { confirm: true }));
    const whenClosed = one.close();
    for (let i = 1; i <= 3; i++) {
      using message = await other.receive();
      assert.equal(message.value, i);
      await sends[i - 1];
    }
    await whenClosed;
    await assert.rejects(other.receive(), CLOSED);
  });

  test(`an end in the middle of a message breaks the channel after the messages before it, over a ${type} socket`, async () => {
    const { said, onError } = watched();
    const [channel, peer] = channelAndPeer({ onError, type });
    const [part] = encodeMessage(Buffer.from('"half"'), 300, false);
    const fd = anonymousFile();
    peer.send(encodeHello(HELLO));
    peer.send(json('whole', 1), [fd]);
    peer.send(part!.bytes, Array<number>(part!.fds).fill(fd));
    peer.close();
    for (let turn = 0; turn < 3; turn++) await nextTurn(); // nobody asks before all of it is here
    using whole = await channel.receive();
    assert.equal(whole.value, 'whole');
    assert.equal(identity(whole.fds[0]!.fd), identity(fd));
    closeSync(fd);
    await assert.rejects(channel.receive());
    await until(() => said.length > 0);
    assert.match(said[0]?.message ?? '', /it ended in the middle of a message/);
    await assert.rejects(channel.receive(), CLOSED);
  });
}

test("sends are refused once the peer has closed, and their descriptors stay the caller's", async () => {
  const [one, other] = channels<string>();
  const first = one.send('taken', [], { confirm: true });
  await one.send('sent');
  const whenClosed = one.close();
  const fd = anonymousFile();
  await assert.rejects(other.send('b', [fd], { confirm: true }), CLOSED);
  await assert.rejects(other.send('c', [fd]), CLOSED);
  closeSync(fd);
  assert.equal((await other.receive()).value, 'taken');
  await first;
  await whenClosed;
  await other.close();
});

test('a peer that closes before it gets a confirmation has ended in order', async () => {
  const { said, onError } = watched();
  const [channel, peer] = channelAndPeer<number>({ onError });
  peer.hello();
  peer.send(Buffer.concat([json(1), json(2)]));
  assert.equal((await channel.receive()).value, 1);
  const second = channel.receive();
  peer.close();
  assert.equal((await second).value, 2);
  await until(() => said.length > 0);
  assert.deepEqual(said, [undefined]);
});

test('a confirmation that came counts although sending has failed since', async () => {
  const [channel, peer] = channelAndPeer();
  peer.hello();
  const send = channel.send('confirm me', [anonymousFile()], { confirm: true });
  await until(() => peer.receive().includes('confirm me'));
  peer.send(Buffer.concat([encodeTaken(1), json('the last')]));
  peer.close();
  // In the same tick, so that the channel finds the failed send before it finds the confirmation.
  const refused = assert.rejects(channel.send('too late'), { code: 'EPIPE' });
  await send;
  await refused;
  assert.equal((await channel.receive()).value, 'the last');
  await channel.close();
});

test('close() reports a send that failed, although it goes on waiting for a confirmation', async () => {
  const { said, onError } = watched();
  const [channel, peer] = channelAndPeer({ onError });
  peer.hello();
  const refused = [assert.rejects(channel.send('confirm me', [], { confirm: true }), CLOSED)];
  await until(() => peer.receive().includes('confirm me'));
  peer.send(json('the last'));
  peer.close();
  refused.push(assert.rejects(channel.send('too late'), { code: 'EPIPE' }));
  await channel.close();
  await Promise.all(refused);
  await until(() => said.length > 0);
  assert.deepEqual(
    said.map((error) => error?.message),
    ['EPIPE: broken pipe, sendmsg. The peer has closed its end, or has gone'],
  );
});

test('close() resolves although the queued message is too large for the peer', async () => {
  const [channel, peer] = channelAndPeer();
  using _ = peer;
  peer.hello({ maxMessageBytes: 10 });
  await channel.send('short');
  const refused = assert.rejects(channel.send('much longer than that'), { code: 'ERR_FDPASSER_TOO_LARGE' });
  await channel.close();
  await refused;
});

test('destroy() waits for nothing, and gives back what was not confirmed', async () => {
  const [one, other] = channels<string>();
  const [first, second] = [anonymousFile(), anonymousFile()];
  const refused = [assert.rejects(one.send('sent', [first], { confirm: true }), CLOSED)];
  await one.send('sent too');
  refused.push(assert.rejects(one.send('x'.repeat(100_000), [second]), CLOSED));
  one.destroy();
  await Promise.all(refused);
  closeSync(first);
  closeSync(second);
  await other.close();
});

test('an error given to destroy() is reported once to each waiting call, to onError and as an event', async () => {
  const { said, onError } = watched();
  const [a, b] = socketpair();
  const channel = new FdChannel(a, { onError });
  const error = new Error('enough');
  const emitted = once(channel, 'error');
  const refused = [assert.rejects(channel.receive(), error), assert.rejects(channel.send('a'), error)];
  channel.destroy(error);
  channel.destroy(new Error('once more'));
  await Promise.all(refused);
  assert.deepEqual(await emitted, [error]);
  assert.deepEqual(said, [error]);
  b.close();
});

test('the sender keeps the descriptors of an unconfirmed message when the peer is killed', async () => {
  const [a, b] = socketpair();
  const channel = new FdChannel<string>(a);
  const child = startChild('channel/channel-idle', { peer: b });
  b.close();
  const whenEnded = ended(child);
  const fd = anonymousFile();
  const before = identity(fd);
  const confirmed = channel.send('take me', [anonymousFile()], { confirm: true });
  const refused = assert.rejects(channel.send('and me', [fd], { confirm: true }));
  assert.equal(await message(child), 'took one');
  await confirmed;
  child.kill('SIGKILL');
  await refused;
  assert.equal(identity(fd), before);
  closeSync(fd);
  const { code, signal } = await whenEnded;
  assert.deepEqual({ code, signal }, { code: null, signal: 'SIGKILL' });
  await channel.close();
});

test('a process ends although a channel is open, once the send that it waited for is aborted', async () => {
  const [a, b] = socketpair();
  const { code, signal, stderr } = await ended(startChild('channel/channel-abort', { peer: b }));
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  a.close();
  b.close();
});
