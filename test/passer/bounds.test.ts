import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { connect, FdPasser, FdStream, listen, socketpair, type OwnedFd } from 'fdpasser';
import { address } from '#dist/endpoint/address.js';
import { addon } from '#dist/native/load.js';
import { RawPeer } from '../support/channels.js';
import { anonymousFile, inFolder, openDescriptors, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** Makes a peer keep sending as much as the kernel takes, for longer than a receiver would need to take it. */
async function flood(peer: RawPeer, bytes: Uint8Array, fds: number[]): Promise<void> {
  for (let i = 0; i < 50; i++) {
    while (peer.trySend(bytes, fds) > 0);
    await nextTurn();
  }
}

/** How many more descriptors are open than now. */
function counter(): () => number {
  const before = openDescriptors().size;
  return () => openDescriptors().size - before;
}

for (const type of ['stream', 'seqpacket', 'dgram'] as const)
  test(`a flood leaves at most 252 descriptors beyond those asked for, over a ${type} socket`, async () => {
    const [a, b] = socketpair({ type });
    using peer = new RawPeer(b);
    const fd = anonymousFile();
    const fds = Array<number>(253).fill(fd);
    const passer = new FdPasser({ fh: a });
    const more = counter();
    await flood(peer, Buffer.alloc(1), fds);
    assert.equal(more(), 0);
    for (let left = 252; left > 249; left--) {
      (await passer.receive()).close();
      await flood(peer, Buffer.alloc(1), fds);
      assert.equal(more(), left);
    }
    passer.destroy();
    closeSync(fd);
  });

test('a flood leaves a paused stream with at most 512 descriptors, and its highWaterMark and one receive of bytes', async () => {
  const [a, b] = socketpair();
  using peer = new RawPeer(b);
  const fd = anonymousFile();
  const stream = new FdStream(a, { highWaterMark: 1000 });
  const arrived: OwnedFd[] = [];
  let bytes = 0;
  stream.on('fds', (fds: OwnedFd[]) => arrived.push(...fds));
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    stream.pause();
  });
  for (let round = 1; round <= 3; round++) {
    const before = arrived.length;
    await flood(peer, Buffer.alloc(1), Array<number>(253).fill(fd));
    // One message that was read, and what came ahead.
    assert.ok(arrived.length - before <= 253 + 512, `${arrived.length - before} descriptors`);
    assert.ok(bytes > 0 && arrived.length > before);
    stream.resume();
  }
  for (const each of arrived) each.close();
  stream.destroy();
  closeSync(fd);
});

test('a stream whose reader waits for more bytes than those of 512 descriptors gets them', async () => {
  const [a, b] = socketpair();
  using peer = new RawPeer(b);
  const fd = anonymousFile();
  const stream = new FdStream(a);
  let count = 0;
  stream.on('fds', (fds: OwnedFd[]) => {
    count += fds.length;
    for (const each of fds) each.close();
  });
  let chunk: unknown = null;
  stream.on('readable', () => (chunk ??= stream.read(4)));
  for (let i = 0; i < 4; i++) {
    peer.send(Buffer.from([i]), Array<number>(253).fill(fd));
    await until(() => count === 253 * (i + 1));
  }
  await until(() => chunk !== null);
  assert.deepEqual(chunk, Buffer.from([0, 1, 2, 3]));
  stream.destroy();
  closeSync(fd);
});

/** Calls `another` for each received item, which sends the next at once, so that nothing ever waits. */
const endless = {
  passer(socket: OwnedFd, another: () => void) {
    const passer = new FdPasser({ fh: socket });
    passer.pushRecvFh(function received(fd) {
      fd.close();
      passer.pushRecvFh(received);
      another();
    });
    return passer;
  },
  stream: (socket: OwnedFd, another: () => void) => new FdStream(socket).on('data', another),
};

for (const [name, open] of Object.entries(endless))
  test(`a ${name} lets the event loop turn though its peer never stops`, async () => {
    const COUNT = 50;
    const [a, b] = socketpair();
    using peer = new RawPeer(b);
    const fd = anonymousFile();
    const seen = { count: 0 };
    const another = (): void => {
      const end = performance.now() + 1; // longer than a turn may last
      while (performance.now() < end);
      if (++seen.count < COUNT) peer.send(Buffer.alloc(1), [fd]);
    };
    const receiver = open(a, another);
    another();
    let most = 0;
    for (let before = seen.count; seen.count < COUNT; before = seen.count) {
      await nextTurn();
      most = Math.max(most, seen.count - before);
    }
    assert.ok(most <= 2, `${most} in one turn`);
    receiver.destroy();
    closeSync(fd);
  });

test('connections wait in the backlog, and each accept() takes one', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { backlog: 3 });
    const clients = await Promise.all([1, 2, 3, 4].map(() => connect(server.path)));
    await assert.rejects(connect(server.path, { timeout: 20 }), { code: 'ERR_FDPASSER_TIMEOUT' });
    const more = counter();
    for (let i = 1; i <= 2; i++) {
      clients.push(await server.accept());
      await nextTurn();
      assert.equal(more(), i);
    }
    for (const each of clients) each.close();
  });
});

test('a server examines at most 16 connections in one turn, however many it refuses', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    const clients: number[] = [];
    const connectAnother = (): void => void clients.push(addon.connect(0, address(path, 'connect')));
    const allow = (): boolean => {
      if (clients.length === 500) return true;
      connectAnother(); // is there before the server looks again
      return false;
    };
    using server = listen(path, { allow });
    connectAnother();
    const accepting = server.accept();
    let most = 0;
    for (let before = clients.length; clients.length < 500; before = clients.length) {
      await nextTurn();
      most = Math.max(most, clients.length - before);
    }
    (await accepting).close();
    for (const fd of clients) addon.close(fd);
    assert.ok(most > 1 && most <= 16, `${most}`);
  });
});
