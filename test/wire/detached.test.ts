import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { FdPasser, listen, OwnedFd, sendDatagram } from 'fdpasser';
import { channelAndPeer, channels, RawPeer } from '../support/channels.js';
import { anonymousFile, identity, inFolder, until } from '../support/descriptors.js';
import { noteFiles, readAll, streamPair } from '../support/stream.js';
import { test } from '../support/test.js';

const DETACHED = { code: 'ERR_FDPASSER_DETACHED', message: /transferred.*Send a copy/ };

/** Takes the bytes away from an array, as a caller can at any time. */
const WAYS: Record<string, (bytes: Uint8Array) => void> = {
  transferred: ({ buffer }) => structuredClone(buffer, { transfer: [buffer as ArrayBuffer] }),
  shrunk: ({ buffer }) => (buffer as Resizable).resize(1),
};

// ECMAScript 2024 has it, whose types these tests do not use.
type Resizable = ArrayBuffer & { resize(size: number): void };
const NewBuffer = ArrayBuffer as unknown as new (size: number, options: { maxByteLength: number }) => Resizable;

/** Bytes whose buffer can be resized, so that it can be transferred and shrunk. */
function resizable(size: number): Uint8Array {
  return new Uint8Array(new NewBuffer(size, { maxByteLength: size }), 0, size).fill(7);
}

for (const [way, lose] of Object.entries(WAYS)) {
  test(`writeWithFds sends the given bytes, although the buffer is ${way} right after`, async () => {
    const [one, other] = streamPair();
    one.write(Buffer.alloc(1 << 20)); // until this is read, the rest waits
    const fd = anonymousFile();
    const id = identity(fd);
    const bytes = resizable(3 << 20);
    const written = new Promise((resolve) => one.writeWithFds(bytes, [fd], {}, resolve));
    lose(bytes);
    one.end();
    const arrived = await readAll(other);
    assert.ifError(await written);
    assert.deepEqual(
      arrived.fds.map((file) => file.id),
      [id],
    );
    assert.ok(arrived.bytes.subarray(1 << 20).equals(Buffer.alloc(3 << 20, 7)));
  });

  test(`a write whose buffer is ${way} while it waits fails, and destroys the stream`, async () => {
    for (const before of [1, 2]) {
      const [one, other] = streamPair();
      const failed = new Promise((resolve) => one.once('error', resolve));
      const calls: Promise<Error | null | undefined>[] = [];
      for (let i = 0; i < before; i++) calls.push(new Promise((resolve) => one.write(Buffer.alloc(1 << 20), resolve)));
      const bytes = resizable(100);
      calls.push(new Promise((resolve) => one.write(bytes, resolve)));
      lose(bytes);
      other.resume();
      await assert.rejects(
        failed.then((error) => Promise.reject(error as Error)),
        DETACHED,
      );
      assert.equal((await calls.at(-1))?.name, 'FdPasserError');
      other.destroy();
    }
  });

  test(`a write whose buffer is ${way} when a part of it was sent fails, and destroys the stream`, async () => {
    const [one, other] = streamPair();
    const failed = new Promise((resolve) => one.once('error', resolve));
    const bytes = resizable(8 << 20);
    const call = new Promise<Error | null | undefined>((resolve) => one.write(bytes, resolve));
    other.read();
    await until(() => other.readableLength > 0);
    lose(bytes);
    other.resume();
    await assert.rejects(
      failed.then((error) => Promise.reject(error as Error)),
      DETACHED,
    );
    assert.equal((await call)?.name, 'FdPasserError');
    other.destroy();
  });

  test(`a 'bytes' message whose buffer is ${way} before it departs is refused alone`, async () => {
    const [channel, peer] = channelAndPeer({ codec: 'bytes' });
    using _ = peer;
    const fd = anonymousFile();
    const bytes = resizable(500);
    const refused = assert.rejects(channel.send(bytes, [fd]), DETACHED);
    const sent = channel.send(Buffer.from('the next'));
    lose(bytes);
    peer.hello({ codec: 0 });
    await Promise.all([refused, sent]);
    closeSync(fd); // still the sender's
    assert.match(peer.receive().toString('latin1'), /the next$/);
    assert.deepEqual(peer.fds, []);
    await channel.close();
  });

  test(`a 'bytes' message whose buffer is ${way} after it was sent takes no room in the window`, async () => {
    const [one, other] = channels<Uint8Array>({ codec: 'bytes', highWaterMark: 1000 });
    for (let i = 0; i < 10; i++) {
      const bytes = resizable(900);
      await one.send(bytes);
      lose(bytes);
      assert.equal((await other.receive()).value.length, 900);
    }
    // All these have room at once.
    await Promise.all([1, 2, 3, 4].map(() => one.send(Buffer.alloc(200))));
    await Promise.all([one.close(), other.close()]);
  });

  test(`bytes that were ${way} already are refused, taking nothing over`, async () => {
    const bytes = resizable(10).subarray(2);
    lose(bytes);
    const fd = new OwnedFd(anonymousFile());
    const [one, other] = streamPair();
    const [channel, peer] = channels({ codec: 'bytes' });
    assert.throws(() => one.writeWithFds(bytes, [fd]), DETACHED);
    assert.throws(() => new FdPasser({ payload: bytes }), DETACHED);
    await assert.rejects(channel.send(bytes, [fd]), DETACHED);
    await assert.rejects(sendDatagram('/nowhere', bytes, [fd]), DETACHED);
    assert.equal(fd.closed, false);
    fd.close();
    one.destroy();
    other.destroy();
    await Promise.all([channel.close(), peer.close()]);
  });

  test(`a datagram is sent unchanged, although its buffer is ${way} while it waits`, async () => {
    await inFolder(async (folder) => {
      const server = listen(`${folder}/socket`, { type: 'dgram' });
      const bytes = resizable(10);
      const sent = sendDatagram(server.path, bytes);
      lose(bytes);
      await sent;
      const socket = await server.accept();
      using peer = new RawPeer(socket);
      assert.deepEqual(peer.receive(), Buffer.alloc(10, 7));
      server.close();
    });
  });
}

test('a chunk that a stream handed out can be transferred without losing later bytes', async () => {
  const [one, other] = streamPair();
  for (let i = 0; i < 12; i++) one.writeWithFds(Buffer.alloc(8000, i), [anonymousFile()]);
  one.end();
  const files = noteFiles(other);
  const chunks: Buffer[] = [];
  for await (const chunk of other as AsyncIterable<Buffer>) {
    chunks.push(Buffer.from(chunk));
    try {
      structuredClone(chunk.buffer, { transfer: [chunk.buffer as ArrayBuffer] });
    } catch {
      // a buffer of Node's pool, which cannot be transferred
    }
  }
  assert.deepEqual(Buffer.concat(chunks), Buffer.concat(Array.from({ length: 12 }, (_, i) => Buffer.alloc(8000, i))));
  assert.equal(files.length, 12);
  await finished(one.resume());
});
