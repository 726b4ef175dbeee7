import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { FdChannel, FdPasser, FdStream, OwnedFd, listen, socketpair } from 'fdpasser';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { anonymousFile, identity, leftOpen, openDescriptors } from '../support/descriptors.js';
import { test } from '../support/test.js';

const child = fileURLToPath(new URL('children/echo.js', import.meta.url));
const VALUE = 'ERR_INVALID_ARG_VALUE';

async function assertConnected(one: FdPasser, other: FdPasser): Promise<void> {
  const file = new OwnedFd(anonymousFile());
  const sent = identity(file.fd);
  await one.send(file);
  using received = await other.receive();
  assert.deepEqual(identity(received.fd), sent);
  one.destroy();
  other.destroy();
}

test('a passer takes its socket as the first argument, in each form of a descriptor, and options after it', async () => {
  for (const form of [(fd: OwnedFd) => fd, (fd: OwnedFd) => fd.take(), (fd: OwnedFd) => ({ fd: fd.take() })]) {
    const [a, b] = socketpair();
    await assertConnected(new FdPasser(form(a), { batch: 2 }), new FdPasser(form(b)));
  }
});

test('a passer takes both ends of a pair as the first argument', async () => {
  const passer = new FdPasser(socketpair(), { payload: Buffer.of(1) });
  const other = new FdPasser(passer.peer.dup());
  passer.iAmParent();
  await assertConnected(passer, other);
});

test('a passer refuses options in both places, and anything but a descriptor, and takes nothing over', () => {
  const [a, b] = socketpair();
  const make = FdPasser as unknown as new (...args: unknown[]) => FdPasser;
  assert.throws(() => new make({ fh: a }, {}), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /"fh" argument must be a descr/,
  });
  assert.throws(() => new make(a, { fh: b }), { code: VALUE, message: /no option "fh" here.*batch, payload/ });
  assert.throws(() => new make(a, null), { code: 'ERR_INVALID_ARG_TYPE', message: /"options"/ });
  assert.throws(() => new make('socket'), { code: 'ERR_INVALID_ARG_TYPE', message: /"fh"/ });
  assert.deepEqual([a.closed, b.closed], [false, false]);
  a.close();
  b.close();
});

test('a descriptor that is undefined before options is refused, and no pair is made in its place', () => {
  const before = openDescriptors();
  const missing = undefined as unknown as OwnedFd;
  const expected = {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /"fh" argument must be a descriptor: a number, an OwnedFd, or an object with fd\. Received undefined$/,
  };
  assert.throws(() => new FdPasser(missing, { batch: 2 }), expected);
  assert.throws(() => new FdChannel(missing, { codec: 'bytes' }), expected);
  assert.throws(() => new FdStream(missing, {}), expected);
  assert.throws(() => new FdChannel(missing), expected);
  assert.throws(() => new FdStream(missing), expected);
  assert.throws(() => new FdChannel({ fh: missing }), { code: expected.code });
  assert.throws(() => new FdStream({ fh: missing }), { code: expected.code });
  assert.deepEqual(leftOpen(before), []);
});

test('a channel and a stream take their socket among the options, as a passer does', async () => {
  const [a, b] = socketpair();
  const channel = new FdChannel({ fh: a, codec: 'bytes' });
  const other = new FdChannel(b, { codec: 'bytes' });
  const received = other.receive();
  await channel.send(Buffer.from('by channel'));
  assert.equal((await received).value.toString(), 'by channel');
  channel.destroy();
  other.destroy();

  const [c, d] = socketpair();
  const stream = new FdStream({ fh: c.take(), fds: 'number' });
  const far = new FdStream({ fh: d });
  const brought = once(stream.resume(), 'fds') as Promise<[number[]]>;
  far.writeWithFds(Buffer.of(1), [anonymousFile()]);
  const [[fd]] = await brought;
  closeSync(fd!);
  stream.destroy();
  far.destroy();
});

test('a channel and a stream refuse options in both places', () => {
  const [a, b] = socketpair();
  for (const Class of [FdChannel, FdStream]) {
    const make = Class as unknown as new (...args: unknown[]) => unknown;
    assert.throws(() => new make({ fh: a }, {}), { code: 'ERR_INVALID_ARG_TYPE', message: /"fh" argument/ });
    assert.throws(() => new make(a, { fh: b }), { code: VALUE, message: /no option "fh" here/ });
  }
  assert.deepEqual([a.closed, b.closed], [false, false]);
  a.close();
  b.close();
});

test('connect and spawn of a passer read options that their object inherits', async () => {
  const payload = Buffer.alloc(7);
  using server = listen(`\0fdpasser-inherits-${process.pid}`);
  const connecting = FdPasser.connect(server.path, Object.create({ payload }) as object);
  const other = new FdPasser(await server.accept());
  const passer = await connecting;
  await passer.send(anonymousFile());
  (await other.receive()).close();
  assert.equal(other.stats().bytesReceived, 7);
  passer.destroy();
  other.destroy();

  const options = Object.create({ stdio: ['ignore', 'pipe', 'inherit'] }) as object;
  const spawned = FdPasser.spawn('sh', ['-c', 'echo heard'], options);
  const { stdout } = await ended(spawned.child);
  assert.equal(stdout, 'heard\n');
  spawned.passer.destroy();
});

test("options of the wrong name are refused, and the descriptors stay their owner's", async () => {
  const [a, b] = socketpair();
  const fd = new OwnedFd(anonymousFile());
  const wrong = { keepopen: true } as object;
  const expected = { code: VALUE, message: /There is no option "keepopen" here\. There are: .*keepOpen/ };
  const unknown = { code: VALUE, message: /There is no option "keepopen" here\. There are: / };
  assert.throws(() => new FdPasser(a, wrong), unknown);
  assert.throws(() => new FdPasser({ fh: a, ...wrong }), unknown);
  assert.throws(() => new FdStream(a, wrong), unknown);
  assert.throws(() => FdPasser.spawn(child, [], { passer: wrong }), unknown);
  assert.throws(() => FdStream.spawn(child, [], { stream: wrong }), unknown);
  await assert.rejects(FdPasser.connect('/nowhere', wrong), unknown);
  await assert.rejects(FdStream.connect('/nowhere', wrong), unknown);
  const passer = new FdPasser(a);
  const stream = new FdStream(b);
  assert.throws(() => passer.pushSendFh(fd, wrong), expected);
  await assert.rejects(passer.send(fd, wrong), expected);
  await assert.rejects(passer.receive(wrong), unknown);
  await assert.rejects(passer.receiveMany(wrong), unknown);
  assert.throws(() => stream.writeWithFds(Buffer.of(1), [fd], wrong), expected);
  assert.equal(fd.closed, false);
  fd.close();
  passer.destroy();
  stream.destroy();
});

test('a passer reads options that their object inherits', async () => {
  class Options {
    get payload(): Uint8Array {
      return Buffer.alloc(7);
    }
  }
  const [a, b] = socketpair();
  const one = new FdPasser(Object.assign(new Options(), { fh: a }));
  const other = new FdPasser(b);
  await one.send(anonymousFile());
  (await other.receive()).close();
  assert.equal(other.stats().bytesReceived, 7);
  one.destroy();
  other.destroy();
});

test('options that are undefined are as if they were left out', async () => {
  const [a, b] = socketpair();
  const none = undefined;
  const one = new FdPasser(a, { batch: none, payload: none, dontSetNonblocking: none, onError: none });
  const other = new FdPasser({ fh: b, batch: none });
  const received = other.receive({ signal: none });
  await one.send(anonymousFile(), { signal: none, keepOpen: none });
  (await received).close();
  one.destroy();
  other.destroy();
});
