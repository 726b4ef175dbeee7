import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FdChannel, socketpair, type FdChannelOptions } from 'fdpasser';
import { encodeDeclined, encodeHello, encodeTaken, HELLO_BYTES } from '#dist/channel/frames.js';
import { channelAndPeer, HELLO, RawPeer, TYPES, type Type } from '../support/channels.js';
import { ended, startChild } from '../support/child.js';
import { anonymousFile, identity, until } from '../support/descriptors.js';
import { encodeMessage } from '../support/frames.js';
import { test } from '../support/test.js';

const PART = 1;

/** A frame with any header. */
function frame(type: number, flags: number, fds: number, length: number, payload = Buffer.alloc(length)): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(type, 0);
  header.writeUInt8(flags, 1);
  header.writeUInt16LE(fds, 2);
  header.writeUInt32LE(length, 4);
  return Buffer.concat([header, payload]);
}

/** A message with `fds` descriptors and unread bytes. */
function unread(fds: number, ...numbers: number[]): Buffer {
  const body = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, i) => body.writeUInt32LE(number, 4 * i));
  return frame(PART, 2, fds, body.length, body);
}

/** The one error that `onError` gets from a channel whose peer sends these, one after the other. */
async function saidOf(
  type: Type,
  pieces: Uint8Array[],
  options: FdChannelOptions = {},
): Promise<NodeJS.ErrnoException | undefined> {
  const said: (Error | undefined)[] = [];
  const [channel, peer] = channelAndPeer({ ...options, type, onError: (error) => said.push(error) });
  using _ = peer;
  const receive = channel.receive().catch((error: unknown) => error);
  for (const piece of pieces) peer.send(piece);
  await until(() => said.length > 0);
  assert.equal(await receive, said[0]);
  assert.equal(said.length, 1);
  await channel.close();
  return said[0];
}

const hello = encodeHello(HELLO);

const BROKEN: [what: RegExp, pieces: Uint8Array[]][] = [
  [/it began with "GET \/ HTTP\/1.1/, [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
  [/it began with "\\u0000"/, [Buffer.from([0])]],
  [/version 2 of FDP1, and this side speaks version 1/, [Buffer.from(hello).fill(2, 4, 5)]],
  [/unknown type 0/, [hello, frame(0, 0, 0, 0)]],
  [/unknown type 70/, [hello, hello]],
  [/unknown flags 16/, [hello, frame(PART, 16, 0, 0)]],
  [/frame of 65537 bytes/, [hello, frame(PART, 0, 0, 65_537, Buffer.alloc(0))]],
  [/frame with 254 descriptors/, [hello, frame(PART, 0, 254, 0)]],
  [/part of a message with nothing in it/, [hello, frame(PART, 1, 0, 0)]],
  [/bad TAKEN/, [hello, frame(2, 0, 0, 3)]],
  [/bad TAKEN/, [hello, frame(2, 1, 0, 4)]],
  [/bad DECLINED/, [hello, frame(3, 0, 0, 3)]],
  [/bad CLOSING/, [hello, frame(4, 0, 0, 4)]],
  [/request or a reply without its number/, [hello, frame(PART, 4, 0, 3)]],
  [/request that is a reply/, [hello, frame(PART, 12, 0, 4)]],
  [/answered request number 0, which was never sent/, [hello, frame(PART, 8, 0, 4)]],
  [/answered request number 7, which was never sent/, [hello, encodeDeclined(7)]],
  [/took 1 messages of 0/, [hello, encodeTaken(1)]],
  [/took 4294967295 messages of 0/, [hello, encodeTaken(0xffff_ffff)]],
  [/2 descriptors came with 0/, [hello, frame(PART, 0, 2, 0)]],
  [/unread bytes do not add up/, [hello, unread(0, 1, 0, 0)]],
  [/unread bytes do not add up/, [hello, unread(1)]],
  [/unread bytes do not add up/, [hello, unread(2, 2, 1, 0, 0, 0)]],
  [/more than 100 bytes \(maxMessageBytes\)/, [hello, frame(PART, 0, 0, 101)]],
];

for (const type of TYPES) {
  test(`a channel whose peer breaks the protocol reports how, over a ${type} socket`, async () => {
    for (const [what, pieces] of BROKEN) {
      const error = await saidOf(type, pieces, { maxMessageBytes: 100 });
      assert.equal(error?.code, 'ERR_FDPASSER_PROTOCOL');
      assert.match(error.message, what);
    }
  });

  test(`channels of different codecs report the difference, over a ${type} socket`, async () => {
    const [a, b] = socketpair({ type });
    const said: (Error | undefined)[] = [];
    const one = new FdChannel(a, { codec: 'json', onError: (error) => said.push(error) });
    const other = new FdChannel(b, { codec: 'bytes', onError: (error) => said.push(error) });
    const CODEC = { code: 'ERR_FDPASSER_CODEC' };
    await Promise.all([
      assert.rejects(one.receive(), { ...CODEC, message: /the codec 'json' and the other 'bytes'/ }),
      assert.rejects(other.send(Buffer.from('a')), { ...CODEC, message: /the codec 'bytes' and the other 'json'/ }),
    ]);
    await until(() => said.length === 2);
    assert.match((await saidOf(type, [encodeHello({ ...HELLO, codec: 77 })]))?.message ?? '', /the other 'number 77'/);
  });

  test(`a channel gives up a peer that sends no hello, over a ${type} socket`, async () => {
    const error = await saidOf(type, [], { helloTimeout: 20 });
    assert.equal(error?.code, 'ERR_FDPASSER_HELLO');
    assert.match(error.message, /sent no hello within 20 ms \(helloTimeout\)/);
  });

  test(`a hello that has come in time counts even when this process reads it too late, over a ${type} socket`, async () => {
    await nextTurn(); // next the loop runs its timers, and then checks its sockets
    const [channel, peer] = channelAndPeer<string>({ type, helloTimeout: 20 });
    using _ = peer;
    peer.hello();
    for (const until = performance.now() + 40; performance.now() < until;); // a busy event loop
    peer.send(encodeMessage(Buffer.from('"hello"'), 0, false)[0]!.bytes);
    assert.equal((await channel.receive()).value, 'hello');
    await channel.close();
  });

  test(`a channel sends nothing but its hello before the peer's hello has come, over a ${type} socket`, async () => {
    const [channel, peer] = channelAndPeer({ type });
    using _ = peer;
    const send = channel.send('after the hello');
    await until(() => peer.receive().length > 0);
    assert.equal(peer.receive().length, HELLO_BYTES);
    peer.hello();
    await send;
    assert.match(peer.receive().toString('latin1'), /after the hello/);
    await channel.close();
  });
}

test('a hello and frames that come byte by byte are understood', async () => {
  const [channel, peer] = channelAndPeer<string>();
  using _ = peer;
  const fd = anonymousFile();
  const [message] = encodeMessage(Buffer.from('"slow"'), 1, false);
  for (const byte of hello) peer.send(Buffer.from([byte]));
  [...message!.bytes].forEach((byte, i) => peer.send(Buffer.from([byte]), i === 0 ? [fd] : []));
  using received = await channel.receive();
  assert.equal(received.value, 'slow');
  assert.equal(identity(received.fds[0]!.fd), identity(fd));
  closeSync(fd);
  await channel.close();
});

test('descriptors may come before their frame, and frames of several messages in one part', async () => {
  const [channel, peer] = channelAndPeer<number>();
  using _ = peer;
  const fds = [anonymousFile(), anonymousFile(), anonymousFile()];
  const frames = [0, 1, 2].map((i) => encodeMessage(Buffer.from(`${i}`), i, false)[0]!.bytes);
  peer.send(Buffer.concat([hello, ...frames]), fds);
  const sent = fds.map(identity);
  for (const expected of [[], sent.slice(0, 1), sent.slice(1)]) {
    using message = await channel.receive();
    assert.deepEqual(
      message.fds.map(({ fd }) => identity(fd)),
      expected,
    );
  }
  for (const fd of fds) closeSync(fd);
  await channel.close();
});

test('a packet longer than a frame breaks the channel', async () => {
  const error = await saidOf('seqpacket', [hello, frame(PART, 0, 0, 65_536, Buffer.alloc(65_537))]);
  assert.equal(error?.code, 'ERR_FDPASSER_PROTOCOL');
  assert.match(error.message, /packet longer than a frame/);
});

test('a full table does not count as silence', async () => {
  const [a, b] = socketpair();
  using peer = new RawPeer(a);
  const child = startChild('channel/channel-full', { peer: b, descriptors: 64 });
  b.close();
  const fd = anonymousFile();
  // In one send, so that the hello is behind a message for which there is no room.
  const [message] = encodeMessage(Buffer.from('"for later"'), 1, false);
  peer.send(Buffer.concat([hello, message!.bytes]), [fd]);
  closeSync(fd);
  const { code, signal, stdout, stderr } = await ended(child);
  assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'exhausted\n', stderr: '' });
});

test('messages that a peer sent before it broke the protocol are received', async () => {
  const [channel, peer] = channelAndPeer<string>();
  using _ = peer;
  peer.hello();
  const confirmed = channel.send('taken', [], { confirm: true });
  await until(() => peer.receive().includes('taken'));
  const [message] = encodeMessage(Buffer.from('"whole"'), 0, false);
  const received = channel.receive();
  peer.send(Buffer.concat([encodeTaken(1), message!.bytes, Buffer.alloc(64, 0xff)]));
  assert.equal((await received).value, 'whole');
  await confirmed;
  await assert.rejects(channel.receive(), { code: 'ERR_FDPASSER_CLOSED', message: /unknown type 255/ });
});
