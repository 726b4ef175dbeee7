import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import { FdPasser, FdStream, listen, sendDatagram, socketpair } from 'fdpasser';
import { channels, RawPeer } from '../support/channels.js';
import { anonymousFile, identity, inFolder } from '../support/descriptors.js';
import { connected } from '../support/passing.js';
import { readAll, streamPair } from '../support/stream.js';
import { test } from '../support/test.js';

/** Values of a `vm` context, as in Jest: their classes are not those of this realm. */
const foreign = {
  bytes: runInNewContext('new Uint8Array([1, 2, 3, 4]).subarray(1)') as Uint8Array,
  fds: (fd: number) => runInNewContext('[fd]', { fd }) as number[],
  options: (values: object) => Object.assign(runInNewContext('({})') as object, values),
};
const EXPECTED = Buffer.of(2, 3, 4);

/** A signal that is not an instance of this realm's class, like those of polyfills and jsdom. */
function foreignSignal(): { signal: AbortSignal; abort: () => void } {
  const real = new AbortController();
  const signal = {
    get aborted() {
      return real.signal.aborted;
    },
    get reason() {
      return real.signal.reason as unknown;
    },
    addEventListener: real.signal.addEventListener.bind(real.signal),
    removeEventListener: real.signal.removeEventListener.bind(real.signal),
  } as unknown as AbortSignal;
  return { signal, abort: () => real.abort() };
}

test('the library takes bytes and arrays of another realm wherever it takes any', async () => {
  const fds = Array.from({ length: 3 }, anonymousFile);
  const files = fds.map(identity);

  const [one, other] = streamPair();
  one.writeWithFds(foreign.bytes, foreign.fds(fds[0]!), foreign.options({ keepOpen: false }));
  one.end(foreign.bytes);
  const arrived = await readAll(other);
  assert.deepEqual(arrived.bytes, Buffer.concat([EXPECTED, EXPECTED]));
  assert.deepEqual(
    arrived.fds.map(({ id }) => id),
    [files[0]],
  );

  const [channel, peer] = channels<Uint8Array>({ codec: 'bytes' });
  await channel.send(foreign.bytes, foreign.fds(fds[1]!));
  using message = await peer.receive();
  assert.deepEqual(message.value, EXPECTED);
  assert.equal(identity(message.fds[0]!.fd), files[1]);
  await Promise.all([channel.close(), peer.close()]);

  const [a, b] = socketpair();
  await using passer = new FdPasser({ fh: a, payload: foreign.bytes });
  using raw = new RawPeer(b);
  await passer.send(fds[2]!);
  assert.deepEqual(raw.receive(), EXPECTED);
  assert.deepEqual(raw.fds.map(identity), [files[2]]);

  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { type: 'dgram' });
    await sendDatagram(server.path, foreign.bytes);
    using datagrams = new RawPeer(await server.accept());
    assert.deepEqual(datagrams.receive(), EXPECTED);
  });
});

test('a signal of another realm aborts a call', async () => {
  const [one, other] = connected();
  const { signal, abort } = foreignSignal();
  const receiving = assert.rejects(one.receive({ signal }), { name: 'AbortError' });
  const [stream, peer] = streamPair({ signal });
  const destroyed = assert.rejects(readAll(stream), { name: 'AbortError' });
  abort();
  await Promise.all([receiving, destroyed]);
  await assert.rejects(one.receive({ signal }), { name: 'AbortError' });
  await assert.rejects(one.receive(signal as object), { code: 'ERR_INVALID_ARG_TYPE' });
  for (const wrong of [{}, 'signal', { aborted: false }])
    await assert.rejects(one.receive({ signal: wrong as AbortSignal }), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => new FdStream(-1, { signal: {} as AbortSignal }), { code: 'ERR_INVALID_ARG_TYPE' });
  peer.destroy();
  one.destroy();
  other.destroy();
});

test('an error of another realm, or a thrown value that is not an error, reaches the caller unchanged', async () => {
  const [one, other] = channels();
  const thrown = runInNewContext("new TypeError('theirs')") as Error;
  const stack = thrown.stack;
  for (const error of [thrown, 'no error', undefined, Object.freeze(new Error('frozen'))]) {
    const value = {
      toJSON() {
        throw error;
      },
    };
    assert.equal(
      await one.send(value).then(
        () => 'sent',
        (error: unknown) => error,
      ),
      error,
    );
  }
  assert.equal(thrown.stack, stack);
  await Promise.all([one.close(), other.close()]);
});
