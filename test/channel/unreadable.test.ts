import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { HELLO_BYTES } from '#dist/channel/frames.js';
import { channelAndPeer, HELLO, TYPES, type RawPeer } from '../support/channels.js';
import { anonymousFile, leftOpen, openDescriptors, until } from '../support/descriptors.js';
import { encodeMessage } from '../support/frames.js';
import { test } from '../support/test.js';

/** Puts messages on the wire, with so many descriptors each. */
function send(peer: RawPeer, ...messages: [value: string, fds?: number][]): void {
  const fd = anonymousFile();
  for (const [value, fds = 0] of messages) {
    const frames = encodeMessage(Buffer.from(value), fds, false);
    for (const { bytes, fds: count } of frames) peer.send(bytes, Array<number>(count).fill(fd));
  }
  closeSync(fd);
}

/** The count of the last TAKEN that the peer got. */
function taken(peer: RawPeer): number {
  const bytes = peer.receive();
  return bytes.length > HELLO_BYTES && bytes.readUInt8(bytes.length - 12) === 2
    ? bytes.readUInt32LE(bytes.length - 4)
    : 0;
}

for (const type of TYPES)
  test(`a message that cannot be read is passed over alone, and its descriptors are closed, over a ${type} socket`, async () => {
    const [channel, peer] = channelAndPeer<string>({ type });
    using _ = peer;
    const errors: Error[] = [];
    channel.on('unreadable', (error) => errors.push(error));
    peer.hello();
    const before = openDescriptors();
    // The last message needs several frames and calls.
    send(peer, ['"one"'], ['{"x": NaN}', 2], ['"two"', 1], ['{', 300], ['"three"']);
    const values: string[] = [];
    for await (const { value, fds } of channel) {
      values.push(value);
      for (const fd of fds) fd.close();
      if (value === 'three') break;
    }
    assert.deepEqual(values, ['one', 'two', 'three']);
    assert.deepEqual(leftOpen(before), []);
    assert.equal(errors.length, 2);
    for (const error of errors) assert.equal((error as NodeJS.ErrnoException).code, 'ERR_FDPASSER_UNREADABLE');
    assert.match(errors[0]!.message, /codec 'json': .*NaN.*passed over, and its descriptors were closed/);
    await until(() => taken(peer) === 5);
    await channel.close();
  });

test('a message that cannot be read counts as taken in its turn, when all before it were', async () => {
  const [channel, peer] = channelAndPeer<string>();
  using _ = peer;
  let passedOver = 0;
  channel.on('unreadable', () => passedOver++);
  peer.hello();
  send(peer, ['{']);
  await until(() => taken(peer) === 1);
  send(peer, ['"one"'], ['{'], ['{'], ['"two"'], ['{']);
  await until(() => passedOver === 4);
  assert.equal(taken(peer), 1);
  assert.equal((await channel.receive()).value, 'one');
  await until(() => taken(peer) === 4);
  assert.equal((await channel.receive()).value, 'two');
  await until(() => taken(peer) === 6);
  await channel.close();
});

test('messages that cannot be read do not use up the window', async () => {
  const [channel, peer] = channelAndPeer<string>({ highWaterMark: 1000, maxFds: 4 });
  using _ = peer;
  channel.on('unreadable', () => {});
  peer.hello(HELLO);
  for (let i = 0; i < 10; i++) send(peer, ['{'.repeat(900), 4]);
  send(peer, [JSON.stringify('x'.repeat(900)), 4]);
  using message = await channel.receive();
  assert.equal(message.fds.length, 4);
  await channel.close();
});

test('the first message that cannot be read causes a process warning if nobody listens', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on('warning', note);
  const [channel, peer] = channelAndPeer<string>();
  using _ = peer;
  peer.hello();
  send(peer, ['{'], ['{'], ['"good"']);
  assert.equal((await channel.receive()).value, 'good');
  await until(() => warnings.length > 0);
  await channel.close();
  process.off('warning', note);
  assert.deepEqual(
    warnings.map(({ name }) => name),
    ['FdPasserWarning'],
  );
  assert.match(warnings[0]!.message, /codec 'json'.*Listen for 'unreadable'/);
});

test('an unreadable message does not confirm the messages that a closing channel drops', async () => {
  const [channel, peer] = channelAndPeer<string>();
  using _ = peer;
  let passedOver = 0;
  channel.on('unreadable', () => passedOver++);
  peer.hello();
  const confirmed = channel.send('keeps it from closing', [], { confirm: true }).catch(() => {});
  send(peer, ['"dropped"']);
  await until(() => peer.receive().includes('keeps it'));
  const closed = channel.close();
  send(peer, ['{']);
  await until(() => passedOver === 1);
  peer.endSending();
  await Promise.all([closed, confirmed]);
  assert.equal(taken(peer), 0);
});
