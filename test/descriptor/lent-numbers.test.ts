import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, createWriteStream, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:net';
import { Worker } from 'node:worker_threads';
import { FdChannel, FdPasser, FdStream, listen, OwnedFd, socketpair, type FdLike } from 'fdpasser';
import type { Task } from './children/number-user.js';
import { anonymousFile, identity, inFolder, isOpen, until } from '../support/descriptors.js';
import { turns } from '../support/passing.js';
import { test } from '../support/test.js';

const OWNED = { code: 'ERR_FDPASSER_OWNED' };
const LENT = { code: 'ERR_FDPASSER_LENT' };
const EBADF = { code: 'EBADF' };

/** Two ends of a wire of any kind, with functions to send over one and receive at the other. */
interface Wire {
  send(fh: FdLike, keepOpen: boolean): Promise<void>;
  receive(): Promise<OwnedFd>;
  destroy(): void;
}

const wires = {
  passer(): Wire {
    const [one, other] = socketpair().map((fh) => new FdPasser({ fh })) as [FdPasser, FdPasser];
    return {
      send: (fh, keepOpen) => one.send(fh, { keepOpen }),
      receive: () => other.receive(),
      destroy: () => [one, other].forEach((end) => end.destroy()),
    };
  },
  channel(): Wire {
    const [one, other] = socketpair().map((fh) => new FdChannel(fh)) as [FdChannel, FdChannel];
    return {
      send: (fh, keepOpen) => one.send(0, [fh], { keepOpen }),
      receive: async () => (await other.receive()).fds[0]!,
      destroy: () => [one, other].forEach((end) => end.destroy()),
    };
  },
  stream(): Wire {
    const [one, other] = socketpair().map((fh) => new FdStream(fh)) as [FdStream, FdStream];
    one.on('error', () => {});
    return {
      send: (fh, keepOpen) =>
        new Promise((resolve, reject) => {
          one.writeWithFds(Buffer.of(0), [fh], { keepOpen }, (error) => (error ? reject(error) : resolve()));
        }),
      receive: () =>
        new Promise((resolve) => {
          other.once('fds', ([fd]: [OwnedFd]) => resolve(fd));
          other.resume();
        }),
      destroy: () => [one, other].forEach((end) => end.destroy()),
    };
  },
};

/**
 * A passer whose peer receives nothing yet, so that sends wait. `go` lets them depart, and returns the receiving end.
 */
function waiting(): { passer: FdPasser; go(): FdPasser } {
  const passer = new FdPasser();
  return {
    passer,
    go() {
      const other = new FdPasser({ fh: passer.peer.dup() });
      passer.iAmParent();
      return other;
    },
  };
}

/** Takes the lowest free numbers until it has this one. */
function takeNumber(fd: number): number[] {
  const taken = [];
  do taken.push(openSync('/dev/null', 'r'));
  while (taken.at(-1)! < fd);
  assert.equal(taken.at(-1), fd);
  return taken;
}

for (const [name, make] of Object.entries(wires))
  test(`a number that waits elsewhere with keepOpen, and is handed to a ${name}, stays open until both were sent`, async () => {
    const slow = waiting();
    const quick = make();
    const fd = anonymousFile();
    const file = identity(fd);
    const lent = slow.passer.send(fd, { keepOpen: true });
    const again = slow.passer.send({ fd }, { keepOpen: true });
    await quick.send(fd, false);
    assert.equal(identity(fd), file);
    assert.throws(() => new OwnedFd(fd), OWNED);
    assert.throws(() => slow.passer.pushSendFh(fd, { keepOpen: true }), OWNED);
    const other = slow.go();
    for (const received of [await quick.receive(), await other.receive(), await other.receive()]) {
      assert.equal(identity(received.fd), file);
      received.close();
    }
    await Promise.all([lent, again]);
    assert.equal(isOpen(fd), false);
    for (const end of [slow.passer, other, quick]) end.destroy();
  });

for (const [name, make] of Object.entries(wires))
  test(`a number lent to a ${name} that is another file when its turn comes is refused`, async () => {
    const wire = make();
    const fd = anonymousFile();
    const lent = wire.send(fd, true);
    closeSync(fd);
    const others = takeNumber(fd);
    await assert.rejects(lent, EBADF);
    others.forEach((other) => closeSync(other));
    wire.destroy();
  });

test("a lent number that something else closed, and that is received then, is its new owner's alone", async () => {
  const slow = waiting();
  const wire = wires.passer();
  const fd = anonymousFile();
  const lent = slow.passer.send(fd, { keepOpen: true });
  const sent = wire.send(anonymousFile(), false);
  closeSync(fd);
  const spare = openSync('/dev/null', 'r');
  await sent;
  closeSync(spare);
  const received = await wire.receive();
  assert.equal(received.fd, fd);
  assert.equal(received.take(), fd);
  new OwnedFd(fd).close();
  assert.equal(isOpen(fd), false);
  const other = slow.go();
  await assert.rejects(lent, EBADF);
  for (const end of [slow.passer, other, wire]) end.destroy();
});

test('of several lent numbers in one message, only the one that is another file by then is refused', async () => {
  const [one, other] = socketpair().map((fh) => new FdPasser({ fh, batch: 8 })) as [FdPasser, FdPasser];
  const fds = Array.from({ length: 4 }, anonymousFile);
  const files = fds.map(identity);
  const sent = fds.map((fd) => one.send(fd, { keepOpen: true }));
  closeSync(fds[1]!);
  const others = takeNumber(fds[1]!);
  assert.deepEqual(
    (await Promise.allSettled(sent)).map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
  );
  for (const file of [files[0], files[2], files[3]]) {
    using fd = await other.receive();
    assert.equal(identity(fd.fd), file);
  }
  for (const fd of [...fds.filter((_, i) => i !== 1), ...others]) closeSync(fd);
  one.destroy();
  other.destroy();
});

test('an OwnedFd whose number is lent cannot be taken out, and closes when the loan is over', async () => {
  const { passer } = waiting();
  const owned = new OwnedFd(anonymousFile());
  const { fd } = owned;
  const lent = passer.send(fd, { keepOpen: true });
  assert.throws(() => owned.take(), LENT);
  assert.throws(() => owned.createReadStream(), LENT);
  assert.equal(owned.closed, false);
  owned.close();
  assert.equal(owned.fd, -1);
  assert.ok(isOpen(fd));
  passer.destroy();
  await assert.rejects(lent);
  assert.equal(isOpen(fd), false);
});

test('closeAll waits for the loans of each descriptor separately', async () => {
  const { passer } = waiting();
  const all = Array.from({ length: 5 }, () => new OwnedFd(anonymousFile()));
  const fds = all.map(({ fd }) => fd);
  const lent = [1, 3].map((i) => passer.send(fds[i]!, { keepOpen: true }));
  OwnedFd.closeAll(all);
  assert.deepEqual(fds.map(isOpen), [false, true, false, true, false]);
  passer.destroy();
  await Promise.allSettled(lent);
  assert.deepEqual(fds.map(isOpen), [false, false, false, false, false]);
});

test("a number that is lent, and whose other send fails, is the caller's again at once", async () => {
  const [slow, failing] = [waiting(), waiting()];
  const fd = anonymousFile();
  const file = identity(fd);
  const lent = slow.passer.send(fd, { keepOpen: true });
  const failed = failing.passer.send(fd);
  failing.passer.destroy();
  await assert.rejects(failed, { code: 'ERR_FDPASSER_CLOSED' });
  const other = slow.go();
  using received = await other.receive();
  await lent;
  assert.equal(identity(received.fd), file);
  assert.equal(identity(fd), file);
  closeSync(fd);
  slow.passer.destroy();
  other.destroy();
});

test('a server that is closed while it is lent stays open until it was sent', async () => {
  await inFolder(async (folder) => {
    const slow = waiting();
    const server = listen(`${folder}/socket`);
    const { fd } = server;
    const socket = identity(fd);
    const lent = slow.passer.send(server, { keepOpen: true });
    server.close();
    const other = slow.go();
    using received = await other.receive();
    await lent;
    assert.equal(identity(received.fd), socket);
    await until(() => !isOpen(fd));
    slow.passer.destroy();
    other.destroy();
  });
});

test('an aborted loan is over', async () => {
  const { passer } = waiting();
  using owned = new OwnedFd(anonymousFile());
  const control = new AbortController();
  const lent = passer.send(owned.fd, { keepOpen: true, signal: control.signal });
  control.abort();
  await assert.rejects(lent, { name: 'AbortError' });
  closeSync(owned.take());
  passer.destroy();
});

for (const [kind, make] of Object.entries({
  FileHandle: () => open('/dev/null'),
  'fs.WriteStream': () => createWriteStream('', { fd: anonymousFile() }),
  'net.Server': async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  },
}))
  test(`a ${kind} that waits elsewhere with keepOpen, and is sent, is closed when both were sent`, async () => {
    const slow = waiting();
    const quick = wires.passer();
    const object = await make();
    const lent = [slow.passer.send(object, { keepOpen: true }), slow.passer.send(object, { keepOpen: true })];
    await quick.send(object, false);
    await assert.rejects(quick.send(object, false), { code: 'ERR_FDPASSER_NOT_OWNED' });
    const other = slow.go();
    const received = [await quick.receive(), await other.receive(), await other.receive()];
    assert.equal(new Set(received.map(({ fd }) => identity(fd))).size, 1);
    OwnedFd.closeAll(received);
    await Promise.all(lent);
    await assert.rejects(quick.send(object, true), { code: 'ERR_FDPASSER_NOT_OPEN' });
    for (const end of [slow.passer, other, quick]) end.destroy();
  });

for (const [kind, make] of Object.entries({
  async FileHandle(): Promise<[FdLike, number]> {
    const handle = await open('/dev/null');
    return [handle, handle.fd];
  },
  'fs.WriteStream'(): [FdLike, number] {
    const fd = anonymousFile();
    return [createWriteStream('', { fd }), fd];
  },
  async 'net.Socket'(): Promise<[FdLike, number]> {
    const [near, far] = socketpair();
    const { fd } = near;
    far
      .toSocket()
      .on('close', () => {})
      .resume();
    return [near.toSocket(), fd];
  },
}))
  test(`a ${kind} whose number waits elsewhere with keepOpen, and which is sent, is closed when both were sent`, async () => {
    const slow = waiting();
    const quick = wires.passer();
    const [object, fd] = await make();
    const file = identity(fd);
    const lent = slow.passer.send(fd, { keepOpen: true });
    await quick.send(object, false);
    await turns();
    assert.equal(identity(fd), file);
    const other = slow.go();
    for (const end of [quick, other]) {
      using received = await end.receive();
      assert.equal(identity(received.fd), file);
    }
    await lent;
    await until(() => !isOpen(fd));
    for (const end of [slow.passer, other, quick]) end.destroy();
  });

test("a loan of a number that something else closed does not delay Node's object that has the number next", async () => {
  const slow = waiting();
  const quick = wires.passer();
  const fd = anonymousFile();
  const lent = slow.passer.send(fd, { keepOpen: true });
  closeSync(fd);
  const handle = await open('/dev/null');
  assert.equal(handle.fd, fd);
  await quick.send(handle, false);
  await until(() => handle.fd === -1);
  (await quick.receive()).close();
  slow.passer.destroy();
  await assert.rejects(lent);
  quick.destroy();
});

/** A worker that has a number, and uses it as it is told. */
async function startUser(fd: number): Promise<{ worker: Worker; tell: (task: Task) => Promise<void> }> {
  const worker = new Worker(new URL('children/number-user.js', import.meta.url), { workerData: fd });
  await once(worker, 'message');
  return {
    worker,
    async tell(task) {
      worker.postMessage(task, []);
      await once(worker, 'message');
    },
  };
}

for (const end of ['there', 'gone'] as const)
  test(`a number that one thread lends and a worker hands over stays open until both were sent, with the worker ${end}`, async () => {
    const slow = waiting();
    const fd = anonymousFile();
    const file = identity(fd);
    const { worker, tell } = await startUser(fd);
    const lent = slow.passer.send(fd, { keepOpen: true });
    await tell('hand over');
    if (end === 'gone') await worker.terminate();
    assert.equal(identity(fd), file);
    const other = slow.go();
    using received = await other.receive();
    await lent;
    assert.equal(identity(received.fd), file);
    await until(() => !isOpen(fd));
    await worker.terminate();
    slow.passer.destroy();
    other.destroy();
  });

for (const end of ['let the loan go', 'is terminated'] as const)
  test(`a number that a worker lends and another thread hands over is closed when the worker ${end === 'is terminated' ? end : 'lets it go'}`, async () => {
    const quick = wires.passer();
    const fd = anonymousFile();
    const file = identity(fd);
    const { worker, tell } = await startUser(fd);
    await tell('lend');
    await quick.send(fd, false);
    (await quick.receive()).close();
    assert.equal(identity(fd), file);
    if (end === 'let the loan go') await tell(end);
    else await worker.terminate();
    await until(() => !isOpen(fd));
    await worker.terminate();
    quick.destroy();
  });
