import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { serialize } from 'node:v8';
import { FdChannel, socketpair, type FdChannelOptions } from 'fdpasser';
import { encodeHello } from '#dist/channel/frames.js';
import { channelAndPeer, channels, HELLO, TYPES, type Type } from '../support/channels.js';
import { anonymousFile, identity, until } from '../support/descriptors.js';
import { encodeMessage } from '../support/frames.js';
import { test } from '../support/test.js';

const TOO_LARGE = { code: 'ERR_FDPASSER_TOO_LARGE' };

/** Two channels: the first with default options, the second with these. */
function unequal(receiver: FdChannelOptions, type: Type): [FdChannel, FdChannel] {
  const [a, b] = socketpair({ type });
  return [new FdChannel(a), new FdChannel(b, receiver)];
}

/**
 * Sends to a receiver that takes nothing until no more can be sent: exactly `expected` sends resolve, however many
 * there are.
 */
async function stopsAfter(expected: number, [one, other]: [FdChannel, FdChannel], send: () => Promise<void>) {
  let resolved = 0;
  let refused = 0;
  const count = expected + 1000;
  for (let i = 0; i < count; i++)
    send().then(
      () => resolved++,
      () => refused++,
    );
  await until(() => resolved >= expected);
  await other.send('there and back');
  await one.receive();
  assert.equal(resolved, expected);
  one.destroy();
  await until(() => resolved + refused === count);
  assert.equal(resolved, expected);
  await other.close();
}

for (const type of TYPES) {
  test(`a receiver that takes nothing stops the sender at highWaterMark, over a ${type} socket`, async () => {
    const pair = unequal({ highWaterMark: 10_000 }, type);
    await stopsAfter(100, pair, () => pair[0].send('x'.repeat(90)));
  });

  test(`a receiver that takes nothing stops the sender at maxFds, over a ${type} socket`, async () => {
    const pair = unequal({ maxFds: 10 }, type);
    const fd = anonymousFile();
    await stopsAfter(3, pair, () => pair[0].send(0, [fd, fd, fd], { keepOpen: true }));
    closeSync(fd);
  });

  test(`messages without bytes or descriptors count for the window too, over a ${type} socket`, async () => {
    const pair = unequal({ highWaterMark: 8000 }, type);
    await stopsAfter(1000, pair, () => pair[0].send(undefined));
  });

  test(`one message can always be sent, however small the window is, over a ${type} socket`, async () => {
    const [one, other] = unequal({ highWaterMark: 1, maxFds: 300, maxMessageBytes: 1 << 20 }, type);
    const fd = anonymousFile();
    for (let i = 0; i < 3; i++)
      await Promise.all([
        one.send('x'.repeat(200_000), Array<number>(300).fill(fd), { keepOpen: true, confirm: true }),
        other.receive().then((message) => {
          assert.equal(String(message.value).length, 200_000);
          assert.equal(message.fds.length, 300);
          message[Symbol.dispose]();
        }),
      ]);
    closeSync(fd);
    await one.close();
    await other.close();
  });

  test(`a message that is too large for the peer is refused, and the channel goes on, over a ${type} socket`, async () => {
    const [one, other] = unequal({ maxMessageBytes: 100, maxFds: 3 }, type);
    const fds = [1, 2, 3, 4].map(() => anonymousFile());
    const few = [1, 2, 3].map(() => anonymousFile());
    const identities = few.map(identity);
    const sends = [
      one.send('before'),
      assert.rejects(one.send('x'.repeat(99)), { ...TOO_LARGE, message: /101 bytes.*at most 100.*maxMessageBytes/ }),
      assert.rejects(one.send('', fds), { ...TOO_LARGE, message: /4 descriptors.*at most 3.*maxFds/ }),
      one.send('x'.repeat(98), few),
    ];
    assert.equal((await other.receive()).value, 'before');
    {
      using message = await other.receive();
      assert.equal(message.value, 'x'.repeat(98));
      assert.deepEqual(
        message.fds.map(({ fd }) => identity(fd)),
        identities,
      );
    }
    await Promise.all(sends);
    for (const fd of fds) closeSync(fd); // still the sender's
    await one.close();
    await other.close();
  });
}

test('two channels that only send still get confirmations', async () => {
  const [one, other] = channels<number>({ highWaterMark: 100 });
  const unsent: Promise<void>[] = [];
  for (const channel of [one, other]) for (let i = 0; i < 100; i++) unsent.push(channel.send(i).catch(() => undefined));
  const confirmed = [one.send(100, [], { confirm: true }), other.send(100, [], { confirm: true })];
  await nextTurn();
  for (const channel of [one, other]) for (let i = 0; i <= 100; i++) assert.equal((await channel.receive()).value, i);
  await Promise.all([...unsent, ...confirmed]);
  await Promise.all([one.close(), other.close()]);
});

/** The error of a channel whose peer sends this after its hello, while nobody takes anything. */
async function broken(
  options: FdChannelOptions,
  frames: { bytes: Buffer; fds: number }[],
): Promise<NodeJS.ErrnoException | undefined> {
  const errors: (Error | undefined)[] = [];
  const [channel, peer] = channelAndPeer({ ...options, onError: (error) => errors.push(error) });
  using _ = peer;
  const fd = anonymousFile();
  peer.send(encodeHello(HELLO));
  for (const { bytes, fds } of frames) peer.send(bytes, Array<number>(fds).fill(fd));
  await until(() => errors.length > 0);
  closeSync(fd);
  await channel.close();
  return errors[0];
}

function message(bytes: number, fds: number): { bytes: Buffer; fds: number }[] {
  return encodeMessage(Buffer.from(JSON.stringify('x'.repeat(bytes - 2))), fds, false);
}

test('a peer that sends more than the window allows breaks the channel', async () => {
  const tooMuch = /more than the window allows/;
  assert.match((await broken({ highWaterMark: 100 }, [...message(10, 0), ...message(100, 0)]))?.message ?? '', tooMuch);
  assert.match((await broken({ maxFds: 10 }, [...message(10, 6), ...message(10, 6)]))?.message ?? '', tooMuch);
});

test('a peer that exceeds the window breaks the channel before its message is whole', async () => {
  const [part] = message(65_540, 400);
  const errors = await broken({ maxFds: 400 }, [...message(10, 200), part!]);
  assert.match(errors?.message ?? '', /more than the window allows/);
});

test('a peer that sends a larger message than was agreed breaks the channel', async () => {
  assert.match((await broken({ maxMessageBytes: 100 }, message(101, 0)))?.message ?? '', /maxMessageBytes/);
  assert.match((await broken({ maxFds: 10 }, message(10, 11)))?.message ?? '', /maxFds/);
});

test('descriptors that no frame claims break the channel before they fill the table', async () => {
  const stray = Array.from({ length: 3 }, () => ({ ...message(10, 0)[0]!, fds: 100 }));
  const error = await broken({}, stray);
  assert.match(error?.message ?? '', /300 descriptors with no message/);
  assert.equal(error?.code, 'ERR_FDPASSER_PROTOCOL');
});

for (const [codec, most] of [
  ['json', 65_536],
  ['structured', 65_536],
  ['bytes', 1 << 24],
] as const)
  test(`a channel takes ${most} bytes of ${codec} by default, and its peer refuses to send more`, async () => {
    const [one, other] = channels<string | Uint8Array>({ codec });
    const value = (length: number) => (codec === 'bytes' ? Buffer.alloc(length) : 'x'.repeat(length));
    const beside = { json: 2, structured: serialize('x'.repeat(65_000)).length - 65_000, bytes: 0 }[codec];
    const sent = one.send(value(most - beside));
    await assert.rejects(one.send(value(most - beside + 1)), {
      ...TOO_LARGE,
      message: new RegExp(`${most + 1} bytes, .*at most ${most}: raise maxMessageBytes there`),
    });
    assert.equal((await other.receive()).value.length, most - beside);
    await sent;
    await Promise.all([one.close(), other.close()]);
  });

test('up to 1 MiB of bytes read from sockets travels beside the longest value', async () => {
  const [one, other] = channels<string>();
  const sockets: Socket[] = [];
  const withUnread = (bytes: number): Socket => {
    const [near, far] = socketpair();
    const socket = near.toSocket();
    socket.unshift(Buffer.alloc(bytes, 7));
    sockets.push(socket, far.toSocket());
    return socket;
  };
  const longest = 'x'.repeat(65_534);
  const sent = one.send(longest, [withUnread(1 << 19), withUnread(1 << 19)]);
  using message = await other.receive();
  await sent;
  assert.equal(message.value, longest);
  for (const { unread } of message.fds) assert.deepEqual(unread, Buffer.alloc(1 << 19, 7));
  const refused = { ...TOO_LARGE, message: /1048577 bytes of the message's sockets.*at most 1048576/ };
  await assert.rejects(one.send('', [withUnread((1 << 20) + 1)]), refused);
  for (const socket of sockets) socket.destroy();
  await Promise.all([one.close(), other.close()]);
});

test('a flood of empty messages lets the event loop turn, while a loop takes them and while nobody does', async () => {
  const FLOOD = 8000;
  const [channel, peer] = channelAndPeer();
  using _ = peer;
  let turns = 0;
  let flooded = true;
  const turn = (): void => {
    turns++;
    if (flooded) setImmediate(turn);
  };
  peer.hello();
  const message = encodeMessage(Buffer.alloc(0), 0, false)[0]!.bytes;
  peer.send(Buffer.concat(Array<Buffer>(FLOOD).fill(message)));
  turn();
  let count = 0;
  for await (const { value } of channel) {
    assert.equal(value, undefined);
    if (++count === FLOOD) break;
  }
  flooded = false;
  assert.ok(turns >= FLOOD / 100, `${turns} turns for ${FLOOD} messages`);
  await channel.close();
});

test('limits out of range are refused', () => {
  const [a, b] = socketpair();
  const RANGE = { code: 'ERR_OUT_OF_RANGE' };
  for (const name of ['maxMessageBytes', 'maxFds', 'highWaterMark', 'helloTimeout'] as const) {
    for (const value of [0, -1, 1.5, NaN, 2 ** 32]) assert.throws(() => new FdChannel(a, { [name]: value }), RANGE);
    assert.throws(() => new FdChannel(a, { [name]: '1' }), { code: 'ERR_INVALID_ARG_TYPE' });
  }
  assert.throws(() => new FdChannel(a, { helloTimeout: 2 ** 31 }), RANGE); // longer than any timer can wait
  assert.equal(a.closed, false);
  a.close();
  b.close();
});
