import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { FdStream } from 'fdpasser';
import { lookAround, noteFiles, PEER_GONE, startSource, streamPair } from '../support/stream.js';
import { test } from '../support/test.js';

test('a stream fails when its peer goes with something of ours unread, though all of it was written', async () => {
  const [one, other] = streamPair();
  await new Promise((written) => one.write('never read', written));
  other.destroy();
  const failed = once(one.resume(), 'close').catch((error: unknown) => error);
  assert.equal(((await failed) as NodeJS.ErrnoException).code, 'ECONNRESET');
});

const readers: Record<string, (stream: FdStream, onBytes: (count: number) => void) => Promise<void>> = {
  async 'for await'(stream, onBytes) {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      onBytes(chunk.length);
      await lookAround();
    }
  },
  "'data'": (stream, onBytes) =>
    new Promise((resolve, reject) => {
      stream.on('data', (chunk: Buffer) => {
        onBytes(chunk.length);
        stream.pause();
        void lookAround().then(() => stream.resume());
      });
      stream.once('error', reject).once('end', resolve);
    }),
  "'readable'": (stream, onBytes) =>
    new Promise((resolve, reject) => {
      stream.on('readable', () => {
        for (;;) {
          const chunk = stream.read(1000) as Buffer | null;
          if (chunk === null) return;
          onBytes(chunk.length);
        }
      });
      stream.once('error', reject).once('end', resolve);
    }),
};

for (const [name, read] of Object.entries(readers))
  for (const [chunks, size] of [
    [3, 10_500],
    [20, 5500],
  ] as const)
    test(`a stream hands ${name} all that a killed peer had sent, ${chunks * size} bytes, before the error of our write`, async () => {
      const { stream, ids, kill } = await startSource(chunks, size);
      const fds = noteFiles(stream);
      let bytes = 0;
      const written = new Promise((called) => stream.write(Buffer.alloc(4 << 20), called));
      const reading = read(stream, (count) => (bytes += count)).catch((error: unknown) => error);
      await kill();
      const error = (await reading) as NodeJS.ErrnoException;
      assert.ok(error instanceof Error, `the end came without an error`);
      assert.ok(PEER_GONE.has(error.code!), error.message);
      assert.equal(bytes, chunks * size);
      assert.deepEqual(
        fds.map(({ id }) => id),
        ids,
      );
      assert.equal(await written, error);
    });
