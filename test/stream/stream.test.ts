import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, createReadStream, readFileSync, writeFileSync } from 'node:fs';
import { finished, pipeline } from 'node:stream/promises';
import { FdStream, OwnedFd, connect, listen, socketpair, type FdStreamOptions } from 'fdpasser';
import {
  anonymousFile,
  closeAll,
  flagsOf,
  identity,
  inFolder,
  leftOpen,
  openDescriptors,
  until,
} from '../support/descriptors.js';
import { O_CLOEXEC, O_NONBLOCK } from '../support/descriptors.js';
import { assertArrived, lookAround, noteFiles, readAll, Script, streamPair } from '../support/stream.js';
import { test } from '../support/test.js';

// ---- bytes

test('a stream carries bytes both ways at once and ends after them', async () => {
  const [one, other] = streamPair();
  const [toOther, toOne] = [new Script(one), new Script(other)];
  const [atOne, atOther] = [readAll(one), readAll(other)];
  for (let i = 0; i < 100; i++) {
    toOther.write(i * 100 + 1);
    toOne.write(10_000 - i);
  }
  one.end();
  other.end();
  assertArrived(await atOne, toOne.sent);
  assertArrived(await atOther, toOther.sent);
  await Promise.all([finished(one), finished(other)]);
});

test('a stream writes the chunk of an end, in any encoding', async () => {
  const [one, other] = streamPair();
  one.write('ü', 'latin1');
  one.end('00ff', 'hex');
  assert.deepEqual((await readAll(other)).bytes, Buffer.from([0xfc, 0, 0xff]));
});

test('a stream calls back an empty write and sends nothing for it', async () => {
  const [one, other] = streamPair();
  const bytes = readAll(other);
  await new Promise((resolve) => one.write('', resolve));
  await new Promise((resolve) => one.writeWithFds(Buffer.alloc(0), [], {}, resolve));
  one.end('x');
  assert.equal((await bytes).bytes.toString(), 'x');
});

test('writeWithFds takes the callback in the place of options', async () => {
  const [one, other] = streamPair();
  const arrived = readAll(other);
  await new Promise((resolve) => one.writeWithFds(Buffer.from('x'), [anonymousFile()], resolve));
  one.end();
  assert.equal((await arrived).fds.length, 1);
  assert.throws(() => one.writeWithFds(Buffer.from('x'), [], {}, 1 as unknown as () => void), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /"callback" argument must be a function/,
  });
});

test('a stream carries a chunk of 32 MiB with descriptors at its start', async () => {
  const [one, other] = streamPair();
  const script = new Script(one);
  const arrived = readAll(other);
  script.write(1);
  script.write(32 << 20, 3);
  script.write(1);
  one.end();
  assertArrived(await arrived, script.sent);
});

test('a stream is the target and the source of a pipeline', async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/file`;
    writeFileSync(file, randomBytes(5_000_000));
    const [one, other] = streamPair();
    const hash = createHash('sha256');
    await Promise.all([pipeline(createReadStream(file), one), pipeline(other, hash)]);
    assert.equal(hash.digest('hex'), createHash('sha256').update(readFileSync(file)).digest('hex'));
    await finished(one.resume());
  });
});

test('a stream is iterated with for await, and closed by leaving the loop', async () => {
  const [one, other] = streamPair();
  one.write('some');
  for await (const chunk of other) {
    assert.equal(String(chunk), 'some');
    break;
  }
  assert.equal(other.destroyed, true);
  await finished(one.resume());
});

// ---- descriptors

test('a stream brings the descriptors of a write in their order', async () => {
  const [one, other] = streamPair();
  const script = new Script(one);
  const arrived = readAll(other);
  script.write(5, 10);
  script.write(1, 1);
  one.end();
  assertArrived(await arrived, script.sent);
});

test('a stream brings owned, close-on-exec descriptors', async () => {
  const [one, other] = streamPair();
  const file = anonymousFile();
  const id = identity(file);
  one.writeWithFds(Buffer.from('x'), [file]);
  other.resume();
  const [fds] = (await once(other, 'fds')) as [OwnedFd[]];
  assert.equal(fds.length, 1);
  using fd = fds[0]!;
  assert.ok(fd instanceof OwnedFd);
  assert.equal(identity(fd.fd), id);
  assert.equal(flagsOf(fd.fd) & O_CLOEXEC, O_CLOEXEC);
  one.destroy();
  other.destroy();
});

test("a stream brings bare numbers with fds: 'number'", async () => {
  const [one, other] = streamPair({ fds: 'number' });
  const files = [anonymousFile(), anonymousFile()];
  const ids = files.map(identity);
  one.writeWithFds(Buffer.from('x'), files);
  other.resume();
  const [fds] = (await once(other, 'fds')) as [number[]];
  assert.deepEqual(fds.map(identity), ids);
  closeAll(fds);
  one.destroy();
  other.destroy();
});

test('a stream closes the descriptors that nobody listens for', async () => {
  const [one, other] = streamPair();
  const before = openDescriptors();
  new Script(one).write(10, 3);
  await once(other, 'data');
  assert.deepEqual(leftOpen(before), []);
  one.destroy();
  other.destroy();
});

test('a stream takes descriptors over and closes them once the kernel has them', async () => {
  const [one, other] = streamPair();
  const before = openDescriptors();
  const owned = new OwnedFd(anonymousFile());
  await new Promise((sent) => one.writeWithFds(Buffer.from('x'), [owned, anonymousFile()], {}, sent));
  assert.equal(owned.closed, true);
  assert.deepEqual(leftOpen(before), []);
  one.destroy();
  other.destroy();
});

test('a stream leaves descriptors open with keepOpen', async () => {
  const [one, other] = streamPair();
  const arrived = noteFiles(other);
  other.resume();
  const number = anonymousFile();
  using owned = new OwnedFd(anonymousFile());
  const ids = [number, owned.fd, number].map(identity);
  await new Promise((sent) => one.writeWithFds(Buffer.from('x'), [number, owned, number], { keepOpen: true }, sent));
  one.end();
  await finished(other);
  assert.deepEqual(
    arrived.map(({ id }) => id),
    ids,
  );
  assert.deepEqual([identity(number), identity(owned.fd), identity(number)], ids);
  closeSync(number);
});

test('a stream carries 253 descriptors in one write and refuses 254, taking nothing over', async () => {
  const [one, other] = streamPair();
  const arrived = readAll(other);
  const files = Array.from({ length: 254 }, anonymousFile);
  assert.throws(() => one.writeWithFds(Buffer.from('x'), files), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
  closeAll(files);
  const script = new Script(one);
  script.write(2, 253);
  script.write(2, 253);
  one.end();
  assertArrived(await arrived, script.sent);
});

test('a stream refuses wrong arguments, taking nothing over and sending nothing', async () => {
  const [one, other] = streamPair();
  const bytes = Buffer.from('x');
  const [a, b, gone] = [anonymousFile(), new OwnedFd(anonymousFile()), new OwnedFd(anonymousFile())];
  gone.close();
  const cases: [() => void, string][] = [
    [() => one.writeWithFds(Buffer.alloc(0), [a]), 'ERR_INVALID_ARG_VALUE'],
    [() => one.writeWithFds('x' as unknown as Buffer, [a]), 'ERR_INVALID_ARG_TYPE'],
    [() => one.writeWithFds(bytes, a as unknown as number[]), 'ERR_INVALID_ARG_TYPE'],
    [() => one.writeWithFds(bytes, [a, b, -1]), 'ERR_OUT_OF_RANGE'],
    [() => one.writeWithFds(bytes, [a, b, 0x7fffffff]), 'EBADF'],
    [() => one.writeWithFds(bytes, [a, b, gone]), 'ERR_FDPASSER_NOT_OWNED'],
    [() => one.writeWithFds(bytes, [b, a, a]), 'ERR_FDPASSER_OWNED'],
    [() => one.writeWithFds(bytes, [a, b, gone], { keepOpen: true }), 'ERR_FDPASSER_NOT_OWNED'],
  ];
  for (const [call, code] of cases) {
    assert.throws(call, { code });
    assert.equal(b.closed, false);
  }
  const ids = [a, b.fd].map(identity);
  one.writeWithFds(bytes, [a, b]);
  one.end();
  const { bytes: text, fds } = await readAll(other);
  assert.equal(text.toString(), 'x');
  assert.deepEqual(
    fds.map(({ id }) => id),
    ids,
  );
});

test('a stream refuses descriptors once it has ended or was destroyed, taking nothing over', async () => {
  const [one, other] = streamPair();
  const file = anonymousFile();
  const refused = { code: 'ERR_FDPASSER_CLOSED' };
  one.end();
  assert.throws(() => one.writeWithFds(Buffer.from('x'), [file]), refused);
  other.destroy();
  assert.throws(() => other.writeWithFds(Buffer.from('x'), [file]), refused);
  closeSync(file);
  await finished(one.resume());
});

// ---- order

/** Sends what `write` writes, to a stream read only when all of it was written. */
async function whenGlued(write: (script: Script, stream: FdStream) => void): Promise<void> {
  const [one, other] = streamPair();
  const script = new Script(one);
  write(script, one);
  one.end();
  await lookAround();
  assertArrived(await readAll(other), script.sent);
}

test('a stream brings descriptors in order and never later than their bytes when writes are corked', async () => {
  await whenGlued((script, stream) => {
    stream.cork();
    script.write(3);
    script.write(3, 1);
    script.write(3, 2);
    script.write(3);
    stream.uncork();
    script.write(3, 1);
    stream.cork();
    for (let i = 0; i < 200; i++) script.write(1 + (i % 7), i % 3);
    stream.uncork();
  });
});

test('a stream brings descriptors in order and never later than their bytes when the kernel glues writes', async () => {
  const [one, other] = streamPair();
  const script = new Script(one);
  for (const [size, descriptors] of [
    [2, 0],
    [1, 1],
    [1, 2],
    [3, 0],
    [4, 3],
    [1, 0],
  ]) {
    script.write(size!, descriptors);
    await lookAround(); // each its own message to the kernel
  }
  one.end();
  assertArrived(await readAll(other), script.sent);
});

test('a stream brings descriptors in order and never later than their bytes when thousands of small writes coalesce', async () => {
  const [one, other] = streamPair();
  const script = new Script(one);
  const arrived = readAll(other);
  for (let i = 0; i < 5000; i++) script.write(1 + (i % 13), i % 5 === 0 ? 1 + (i % 4) : 0);
  one.end();
  assertArrived(await arrived, script.sent);
});

test('a stream brings descriptors before their bytes to a reader that takes a few bytes at a time', async () => {
  const [one, other] = streamPair({ highWaterMark: 100 });
  const script = new Script(one);
  for (let i = 0; i < 300; i++) script.write(1 + (i % 50), i % 2);
  one.end();
  const chunks: Buffer[] = [];
  let size = 0;
  const fds = noteFiles(other, () => size);
  other.on('readable', () => {
    for (;;) {
      const chunk = other.read(1 + (size % 9)) as Buffer | null;
      if (chunk === null) return;
      chunks.push(chunk);
      size += chunk.length;
    }
  });
  await once(other, 'end');
  assertArrived({ bytes: Buffer.concat(chunks), fds }, script.sent);
});

// ---- back-pressure

test('a slow reader stops the writer, and gets everything', async () => {
  const [one, other] = streamPair();
  const script = new Script(one);
  const TOTAL = 16 << 20;
  const writing = (async () => {
    while (script.size < TOTAL) if (!script.write(10_000, 1)) await once(one, 'drain');
    one.end();
  })();
  const chunks: Buffer[] = [];
  let size = 0;
  const fds = noteFiles(other, () => size);
  for await (const chunk of other as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    await lookAround(); // the writer goes on as far as it may
    assert.ok(one.writableLength <= one.writableHighWaterMark + 10_000, `${one.writableLength} bytes wait to be sent`);
    // What may be on the way: a buffer on each side, one receive, and the kernel's buffer.
    assert.ok(script.size - size < 1 << 20, `${script.size - size} bytes on the way`);
  }
  await writing;
  assertArrived({ bytes: Buffer.concat(chunks), fds }, script.sent);
});

test('slow readers on both sides stop both writers, and get everything', async () => {
  const ends = streamPair({ highWaterMark: 20_000, allowHalfOpen: true });
  const scripts = ends.map((stream) => new Script(stream));
  const arrived = ends.map(async (stream, i) => {
    const chunks: Buffer[] = [];
    const fds = noteFiles(stream);
    // It is not destroyed when one side has ended, because the other may still have to write.
    for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      await lookAround();
      assert.ok(ends[i]!.writableLength <= 20_000 + 7000);
    }
    return { bytes: Buffer.concat(chunks), fds };
  });
  await Promise.all(
    ends.map(async (stream, i) => {
      for (let n = 0; n < 600; n++) if (!scripts[i]!.write(7000, 1)) await once(stream, 'drain');
      stream.end();
    }),
  );
  assertArrived(await arrived[1]!, scripts[0]!.sent);
  assertArrived(await arrived[0]!, scripts[1]!.sent);
});

test('a stream takes nothing from the kernel before somebody reads, and a paused stream no more than its mark', async () => {
  const [one, other] = streamPair();
  const script = new Script(one);
  const fds = noteFiles(other);
  script.write(1 << 20, 1);
  await lookAround();
  assert.equal(other.readableLength, 0);
  assert.deepEqual(fds, []);
  let first: Buffer = Buffer.alloc(0);
  other.once('data', (chunk: Buffer) => {
    first = chunk;
    other.pause();
  });
  await once(other, 'pause');
  await lookAround();
  assert.ok(other.readableLength < 2 * other.readableHighWaterMark, `${other.readableLength} bytes were taken`);
  one.end();
  const arrived = readAll(other);
  other.resume();
  const rest = await arrived;
  assertArrived({ bytes: Buffer.concat([first, rest.bytes]), fds }, script.sent);
});

test('the highWaterMark says when a write returns false and when reading pauses', async () => {
  const [one, other] = streamPair({ highWaterMark: 1000 });
  assert.equal(one.writableHighWaterMark, 1000);
  assert.equal(one.write(Buffer.alloc(999)), true);
  assert.equal(one.write(Buffer.alloc(1)), false);
  assert.equal(one.writeWithFds(Buffer.alloc(1), [anonymousFile()]), false);
  await once(one, 'drain');
  assert.equal(one.write('x'), true);
  await lookAround();
  other.once('readable', () => {});
  await until(() => other.readableLength > 0);
  await lookAround();
  assert.equal(other.readableLength, 1001); // one receive, which the descriptor ended
  one.destroy();
  other.destroy();
});

// ---- ends

test('a stream ends when its peer has ended, unless allowHalfOpen', async () => {
  const [one, other] = streamPair();
  one.end('x');
  await Promise.all([finished(other.resume()), finished(one.resume())]);
  assert.equal(other.writableFinished, true);
});

test('a stream goes on writing after its peer has ended, with allowHalfOpen', async () => {
  const [one, other] = streamPair({ allowHalfOpen: true });
  const script = new Script(other);
  const arrived = readAll(one);
  one.end('question');
  assert.equal((await readAll(other)).bytes.toString(), 'question');
  await lookAround();
  assert.equal(other.writable, true);
  script.write(1_000_000, 2);
  script.write(10);
  other.end();
  assertArrived(await arrived, script.sent);
  await Promise.all([finished(one), finished(other)]);
});

test('a stream goes on reading after it has ended', async () => {
  const [one, other] = streamPair({ allowHalfOpen: true });
  const script = new Script(other);
  one.end();
  await once(other.resume(), 'end');
  script.write(1_000_000, 1);
  other.end();
  assertArrived(await readAll(one), script.sent);
});

test('a stream notices the end of its peer though nobody reads or writes', async () => {
  const [one, other] = streamPair();
  const events: string[] = [];
  for (const event of ['end', 'finish', 'close']) other.on(event, () => events.push(event));
  one.destroy();
  await until(() => other.closed); // polls, since an idle stream keeps no process alive
  assert.deepEqual(events, ['end', 'finish', 'close']);
});

test('destroy() of a stream closes the descriptors that were not sent and calls back their writes with an error', async () => {
  const [one, other] = streamPair();
  const kept = anonymousFile();
  const before = openDescriptors();
  const results: Promise<unknown>[] = [];
  const write = (size: number, fds: number[], keepOpen = false): void => {
    results.push(new Promise((called) => one.writeWithFds(Buffer.alloc(size), fds, { keepOpen }, called)));
  };
  one.cork();
  write(4 << 20, [anonymousFile()]); // more than the kernel takes, so that all after it waits
  write(1, [anonymousFile(), anonymousFile()]);
  write(1, [kept], true);
  one.uncork();
  await lookAround();
  write(1, [anonymousFile()]);
  write(1, [kept], true);
  one.destroy();
  for (const result of await Promise.all(results)) assert.ok(result instanceof Error);
  assert.deepEqual(leftOpen(before), []);
  assert.equal(openDescriptors().has(kept), true);
  closeSync(kept);
  await finished(other.resume());
});

test('destroy(error) of a stream emits that error and ends the peer', async () => {
  const [one, other] = streamPair();
  const failure = once(one, 'close').catch((error: unknown) => error);
  const error = new Error('enough');
  one.destroy(error);
  assert.equal(await failure, error);
  await finished(other.resume());
});

test('a stream is destroyed by its signal', async () => {
  const controller = new AbortController();
  const [one, other] = streamPair({ signal: controller.signal }, {});
  const failed = once(one, 'error') as Promise<[Error]>;
  new Script(one).write(4 << 20, 2);
  controller.abort();
  assert.equal((await failed)[0].name, 'AbortError');
  assert.equal(one.destroyed, true);
  await finished(other.resume());
});

// ---- where it comes from

test('a stream connects to a server, whose connections are streams too', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const [client, connection] = await Promise.all([
      FdStream.connect(server.path, { highWaterMark: 1234, timeout: 10_000 }),
      server.accept(),
    ]);
    assert.equal(client.readableHighWaterMark, 1234);
    const script = new Script(client);
    script.write(100_000, 5);
    client.end();
    assertArrived(await readAll(new FdStream(connection)), script.sent);
  });
});

test('a stream fails to connect where nobody listens', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    await assert.rejects(FdStream.connect(path), { code: 'ENOENT', path });
  });
});

test('a stream leaves nothing open when it cannot become a stream once connected', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const before = openDescriptors();
    for (const options of [{ fds: 'none' as 'owned' }, { highWaterMark: -1 }])
      await assert.rejects(FdStream.connect(server.path, options), { code: 'ERR_INVALID_ARG_VALUE' });
    await assert.rejects(FdStream.connect(server.path, { signal: AbortSignal.abort() }), { name: 'AbortError' });
    const controller = new AbortController();
    const connecting = FdStream.connect(server.path, { signal: controller.signal });
    controller.abort(); // the kernel has connected it by now
    await assert.rejects(connecting, { name: 'AbortError' });
    assert.deepEqual(leftOpen(before), []);
  });
});

test('a stream refuses anything but a stream socket, and wrong options, taking nothing over', async () => {
  const [packet, otherPacket] = socketpair({ type: 'seqpacket' });
  const [stream, otherStream] = socketpair();
  const file = new OwnedFd(anonymousFile());
  const cases: [OwnedFd, FdStreamOptions, object][] = [
    [packet, {}, { code: 'ERR_INVALID_ARG_VALUE' }],
    [file, {}, { code: 'ENOTSOCK' }],
    [stream, { fds: 'none' as 'owned' }, { code: 'ERR_INVALID_ARG_VALUE' }],
    [stream, { highWaterMark: -1 }, { code: 'ERR_INVALID_ARG_VALUE' }],
    [stream, { signal: 'soon' as unknown as AbortSignal }, { code: 'ERR_INVALID_ARG_TYPE' }],
    [stream, { signal: AbortSignal.abort() }, { name: 'AbortError' }],
  ];
  for (const [fd, options, error] of cases) {
    assert.throws(() => new FdStream(fd, options), error);
    assert.equal(fd.closed, false);
  }
  for (const fd of [packet, otherPacket, stream, otherStream, file]) fd.close();
});

test('a stream makes its socket non-blocking and close-on-exec', async () => {
  const [a, b] = socketpair();
  const number = a.take();
  const one = new FdStream(number);
  assert.equal(flagsOf(number) & (O_NONBLOCK | O_CLOEXEC), O_NONBLOCK | O_CLOEXEC);
  one.destroy();
  b.close();
});

test('a stream takes a socket from connect', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const [client, connection] = await Promise.all([connect(server.path), server.accept()]);
    const [one, other] = [new FdStream(client), new FdStream(connection)];
    one.end('x');
    assert.equal((await readAll(other)).bytes.toString(), 'x');
  });
});
