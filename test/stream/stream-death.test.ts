import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { anonymousFile, leftOpen, openDescriptors, until } from '../support/descriptors.js';
import { noteFiles, PEER_GONE, startSource, streamPair } from '../support/stream.js';
import { test } from '../support/test.js';

test('a paused stream can read everything after its peer was killed, and gets the error after that', async () => {
  const { stream, ids, kill } = await startSource(4, 10_000);
  const fds = noteFiles(stream);
  const failed = once(stream, 'close').catch((error: unknown) => error);
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
  stream.pause();
  await until(() => stream.readableLength === 40_000);
  stream.write(Buffer.alloc(4 << 20));
  await kill();
  assert.equal(stream.destroyed, false);
  stream.resume();
  const error = (await failed) as NodeJS.ErrnoException;
  assert.ok(PEER_GONE.has(error.code!), error.message);
  assert.equal(bytes, 40_000);
  assert.equal(fds.length, ids.length);
});

test('a stream that was read ends in order when its killed peer leaves nothing of ours unread', async () => {
  const { stream, ids, kill } = await startSource(5, 10_000);
  const fds = noteFiles(stream);
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
  const end = once(stream, 'end');
  await kill();
  await end;
  assert.equal(bytes, 50_000);
  assert.deepEqual(
    fds.map(({ id }) => id),
    ids,
  );
});

test('a stream that nobody reads fails as soon as its peer is gone, and closes what was not sent', async () => {
  const { stream, kill } = await startSource(1, 10);
  const before = openDescriptors();
  const written = new Promise((called) => stream.write(Buffer.alloc(4 << 20), called));
  const withFile = new Promise((called) => stream.writeWithFds(Buffer.from('x'), [anonymousFile()], {}, called));
  const failed = once(stream, 'error') as Promise<[NodeJS.ErrnoException]>;
  await kill();
  const [error] = await failed;
  assert.ok(PEER_GONE.has(error.code!), error.message);
  assert.equal(await written, error);
  assert.ok((await withFile) instanceof Error);
  assert.deepEqual(leftOpen(before), []);
});

test('a pipeline into a stream fails when its peer dies', async () => {
  const { stream, kill } = await startSource(1, 10);
  const piping = pipeline(createReadStream('/dev/zero'), stream).catch((error: unknown) => error);
  await once(stream, 'drain');
  await kill();
  assert.ok(PEER_GONE.has(((await piping) as NodeJS.ErrnoException).code!));
});

test('a write after the peer has gone fails with EPIPE', async () => {
  const [one, other] = streamPair({ allowHalfOpen: true });
  const failed = once(one, 'error') as Promise<[NodeJS.ErrnoException]>;
  other.destroy();
  await once(one.resume(), 'end');
  one.write('x');
  assert.equal((await failed)[0].code, 'EPIPE');
});
