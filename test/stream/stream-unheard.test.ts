import assert from 'node:assert/strict';
import { FdStream, socketpair, type OwnedFd } from 'fdpasser';
import { channels } from '../support/channels.js';
import { anonymousFile, identity, leftOpen, openDescriptors, until } from '../support/descriptors.js';
import { lookAround, noteFiles, streamPair } from '../support/stream.js';
import { test } from '../support/test.js';

/** A connection that was handed over after 'read, ' was read of it, and its other end. */
async function handedOver(): Promise<[OwnedFd, FdStream]> {
  const [near, far] = socketpair();
  const peer = new FdStream(far);
  peer.write('read, ');
  const socket = near.toSocket();
  socket.on('readable', () => {});
  await until(() => socket.readableLength > 0);
  const [one, other] = channels();
  await one.send(undefined, [socket]);
  const { fds } = await other.receive();
  await Promise.all([one.close(), other.close()]);
  return [fds[0]!, peer];
}

/** Writes these, each with a file; returns the files. */
function writeWithFiles(stream: FdStream, ...texts: string[]): string[] {
  return texts.map((text) => {
    const fd = anonymousFile();
    const id = identity(fd);
    stream.writeWithFds(Buffer.from(text), [fd]);
    return id;
  });
}

function ids(files: { id: string }[]): string[] {
  return files.map(({ id }) => id);
}

test('a stream over a connection with bytes already read takes no descriptors before somebody reads', async () => {
  const [fd, peer] = await handedOver();
  const sent = writeWithFiles(peer, 'and not read');
  peer.end();
  const stream = new FdStream(fd);
  await lookAround();
  const files = noteFiles(stream);
  assert.equal(Buffer.concat((await stream.toArray()) as Buffer[]).toString(), 'read, and not read');
  assert.deepEqual(ids(files), sent);
  peer.destroy();
});

test('a connection whose peer has gone still begins with the bytes already read from it', async () => {
  const [fd, peer] = await handedOver();
  peer.destroy();
  const stream = new FdStream(fd);
  await lookAround();
  assert.equal(Buffer.concat((await stream.toArray()) as Buffer[]).toString(), 'read, ');
});

for (const [what, ask] of Object.entries<(stream: FdStream) => unknown>({
  'a read': (stream) => stream.read(),
  'a listener for readable': (stream) => stream.on('readable', () => {}),
  'a resume and a pause': (stream) => stream.resume().pause(),
}))
  test(`descriptors beside bytes that wait after ${what} wait for a listener together with the bytes`, async () => {
    const [one, other] = streamPair();
    ask(other);
    const sent = writeWithFiles(one, 'a', 'b');
    await until(() => other.readableLength === 2);
    const files = noteFiles(other);
    assert.equal(String(other.read(1)), 'a');
    assert.deepEqual(ids(files), sent);
    one.destroy();
    other.destroy();
  });

test('descriptors that nobody listens for are closed with the bytes that they came with, and not before', async () => {
  const [one, other] = streamPair();
  const before = openDescriptors();
  other.read();
  const sent = writeWithFiles(one, 'aa', 'bb', 'cc');
  await until(() => other.readableLength === 6 && one.writableLength === 0);
  assert.equal(leftOpen(before).length, 3);
  assert.equal(String(other.read(3)), 'aab');
  assert.equal(leftOpen(before).length, 1);
  const files = noteFiles(other);
  assert.equal(String(other.read(3)), 'bcc');
  assert.deepEqual(ids(files), sent.slice(2));
  assert.deepEqual(leftOpen(before), []);
  one.destroy();
  other.destroy();
});

test('descriptors that nobody listens for are closed when their bytes make a listener pause the stream', async () => {
  const [one, other] = streamPair();
  const before = openDescriptors();
  other.on('data', () => other.pause());
  writeWithFiles(one, 'a');
  await until(() => other.isPaused());
  assert.deepEqual(leftOpen(before), []);
  one.destroy();
  other.destroy();
});

test('descriptors that wait for a listener are closed with the stream', async () => {
  const [one, other] = streamPair();
  other.read();
  writeWithFiles(one, 'aa');
  await until(() => other.readableLength === 2);
  one.destroy();
  other.destroy();
});

test('descriptors wait for a listener where bytes become text, of which there are fewer characters', async () => {
  const [one, other] = streamPair();
  const before = openDescriptors();
  other.setEncoding('utf8');
  other.on('readable', () => {});
  const sent = writeWithFiles(one, 'éé', 'ßß');
  await until(() => other.readableLength === 4 && one.writableLength === 0);
  assert.equal(leftOpen(before).length, 2);
  assert.equal(String(other.read(3)), 'ééß');
  assert.deepEqual(leftOpen(before), []);
  const half = anonymousFile();
  sent.push(identity(half));
  one.writeWithFds(Buffer.from('é').subarray(0, 1), [half]);
  await until(() => one.writableLength === 0);
  await lookAround();
  const files = noteFiles(other);
  one.write(Buffer.from('é').subarray(1));
  await until(() => other.readableLength === 2);
  assert.equal(String(other.read()), 'ßé');
  assert.deepEqual(ids(files), sent.slice(2));
  one.destroy();
  other.destroy();
});

test('descriptors wait for a listener when what waits beside them becomes text', async () => {
  const [one, other] = streamPair();
  const before = openDescriptors();
  other.read();
  const sent = writeWithFiles(one, 'éé', 'ßß');
  await until(() => other.readableLength === 8 && one.writableLength === 0);
  other.setEncoding('utf8');
  assert.equal(String(other.read(1)), 'é');
  assert.equal(leftOpen(before).length, 1);
  const files = noteFiles(other);
  assert.equal(String(other.read()), 'éßß');
  assert.deepEqual(ids(files), sent.slice(1));
  one.destroy();
  other.destroy();
});
