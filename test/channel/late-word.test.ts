import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { FdChannel, socketpair } from 'fdpasser';
import {
  CLOSES,
  CONFIRM,
  CONFIRMS,
  encodeConfirm,
  encodeHello,
  encodeTaken,
  HELLO_BYTES,
  REQUESTS,
} from '#dist/channel/frames.js';
import { channelAndPeer, HELLO, TYPES, type RawPeer } from '../support/channels.js';
import { ended, startChild } from '../support/child.js';
import { until } from '../support/descriptors.js';
import { encodeMessage } from '../support/frames.js';
import { test } from '../support/test.js';

const ASKS = { capabilities: REQUESTS | CLOSES | CONFIRMS };

function message(value: unknown): Buffer {
  return encodeMessage(Buffer.from(JSON.stringify(value)), 0, false)[0]!.bytes;
}

/** All bytes that came, without the hello. */
function words(peer: RawPeer): Buffer {
  return peer.receive().subarray(HELLO_BYTES);
}

for (const type of TYPES) {
  test(`TAKEN goes with the next message over a ${type} socket, to a peer that asks`, async () => {
    const [channel, peer] = channelAndPeer({ type });
    peer.hello(ASKS);
    peer.send(message('one'));
    await channel.receive();
    await new Promise(setImmediate); // it counts as taken
    await channel.send('two');
    assert.deepEqual(words(peer), Buffer.concat([encodeTaken(1), message('two')]));
    channel.destroy();
    peer.close();
  });

  test(`a peer that asks over a ${type} socket gets TAKEN at once, once`, async () => {
    const [channel, peer] = channelAndPeer({ type });
    peer.hello(ASKS);
    for (const bytes of [message('one'), encodeConfirm(), message('two')]) peer.send(bytes);
    await channel.receive();
    await until(() => words(peer).equals(encodeTaken(1)));
    await channel.receive();
    await new Promise(setImmediate);
    assert.deepEqual(words(peer), encodeTaken(1));
    peer.send(encodeConfirm()); // after the end
    await until(() => words(peer).equals(Buffer.concat([encodeTaken(1), encodeTaken(2)])));
    channel.destroy();
    peer.close();
  });
}

test('a peer that does not ask gets TAKEN for each message that was taken', async () => {
  const [channel, peer] = channelAndPeer();
  peer.hello({ capabilities: REQUESTS | CLOSES });
  for (const count of [1, 2]) {
    peer.send(message(count));
    await channel.receive();
    await until(() => words(peer).subarray(-12).equals(encodeTaken(count)));
  }
  channel.destroy();
  peer.close();
});

test('a peer that can ask gets TAKEN without asking when half of the window was taken', async () => {
  const [channel, peer] = channelAndPeer({ highWaterMark: 100 });
  peer.hello(ASKS);
  peer.send(Buffer.concat([message('a'.repeat(20)), message('b'.repeat(20))])); // 30 each
  const began = Date.now();
  await channel.receive();
  await new Promise(setImmediate);
  const early = words(peer);
  assert.ok(early.length === 0 || Date.now() - began > 150, 'a process that got no processor may tell by itself');
  await channel.receive();
  await until(() => words(peer).subarray(-12).equals(encodeTaken(2)));
  channel.destroy();
  peer.close();
});

test('a peer that can ask gets TAKEN without asking after a while, and when this direction ends', async () => {
  const [channel, peer] = channelAndPeer();
  peer.hello(ASKS);
  peer.send(message('one'));
  await channel.receive();
  await until(() => words(peer).equals(encodeTaken(1)));
  peer.send(message('two'));
  await channel.receive();
  await channel.close();
  assert.deepEqual(words(peer), Buffer.concat([encodeTaken(1), encodeTaken(2)]));
  peer.close();
});

test('a peer that asks gets TAKEN at once although this side owed it an earlier one, for which it had no room', async () => {
  const [channel, peer] = channelAndPeer();
  peer.hello({ ...ASKS, window: 1 << 30 });
  const sends = Array.from({ length: 20 }, () => channel.send('x'.repeat(60_000)));
  await until(() => channel.stats().sendWaits > 0);
  peer.send(message('one'));
  await channel.receive();
  await new Promise(setImmediate); // it counts as taken, and the peer will be told later
  peer.send(Buffer.concat([message('two'), message('three'), encodeConfirm()]));
  await until(() => channel.stats().waiting === 2);
  await setTimeout(300); // this ends after the wait of the channel
  await until(() => words(peer).length > 20 * 60_000);
  await Promise.all(sends);
  assert.ok(words(peer).includes(encodeTaken(1)));
  const began = Date.now();
  await channel.receive();
  await setTimeout(1);
  assert.ok(words(peer).includes(encodeTaken(2)) || Date.now() - began > 150, 'it was told late');
  channel.destroy();
  peer.close();
});

test('TAKEN goes alone only where no message went for a while', async () => {
  const [channel, peer] = channelAndPeer();
  peer.hello(ASKS);
  let steps = 0;
  let slow = 0;
  for (const end = Date.now() + 1000; Date.now() < end; steps++) {
    const began = Date.now();
    peer.send(message(steps));
    await channel.receive();
    await setTimeout(5);
    await channel.send(steps);
    if (Date.now() - began > 150) slow += Math.ceil((Date.now() - began) / 150);
  }
  const alone = channel.stats().messagesSent - 1 - steps; // the first was the hello
  assert.ok(alone <= slow, `${alone} went alone`);
  channel.destroy();
  peer.close();
});

test('a channel asks a peer that may be late where a send waits to be confirmed, and one that may not never', async () => {
  for (const [hello, asks] of [
    [ASKS, true],
    [HELLO, false],
  ] as const) {
    const [channel, peer] = channelAndPeer();
    peer.hello(hello);
    await channel.send('one');
    assert.deepEqual(words(peer), message('one'));
    const confirmed = channel.send('two', [], { confirm: true });
    const expected = [message('one'), message('two'), ...(asks ? [encodeConfirm()] : [])];
    await until(() => words(peer).length >= Buffer.concat(expected).length);
    assert.deepEqual(words(peer), Buffer.concat(expected));
    peer.send(encodeTaken(2));
    await confirmed;
    channel.destroy();
    peer.close();
  }
});

test('a channel asks once when a message waits for the window, and again when more was sent', async () => {
  const [channel, peer] = channelAndPeer();
  peer.hello({ ...ASKS, window: 20 });
  const sends = ['one', 'two', 'three'].map((value) => channel.send(value)); // 13, 13 and 15
  await until(() => words(peer).length > message('one').length);
  assert.deepEqual(words(peer), Buffer.concat([message('one'), encodeConfirm()]));
  peer.send(encodeTaken(1));
  await until(() => words(peer).at(-8) === CONFIRM && words(peer).includes('two'));
  peer.send(encodeTaken(2));
  await Promise.all(sends);
  assert.equal(words(peer).toString('latin1').split(encodeConfirm().toString('latin1')).length - 1, 2);
  channel.destroy();
  peer.close();
});

test('a process that exits has confirmed what it had taken', async () => {
  const [ours, theirs] = socketpair();
  const end = ended(startChild('channel/channel-exits', { peer: theirs }));
  theirs.close();
  const channel = new FdChannel(ours);
  await channel.send('taken');
  assert.equal((await end).code, 0);
  await assert.rejects(channel.receive(), { code: 'ERR_FDPASSER_CLOSED', message: /the peer closed its end/ });
  assert.equal(channel.stats().untaken, 0);
});

test('a hello with unknown capabilities is accepted, and a CONFIRM with content is refused', async () => {
  const [channel, peer] = channelAndPeer();
  peer.send(encodeHello({ ...HELLO, capabilities: 0xffff }));
  peer.send(Buffer.from([CONFIRM, 0, 1, 0, 0, 0, 0, 0]));
  await assert.rejects(channel.receive(), /bad CONFIRM/);
  peer.close();
});
