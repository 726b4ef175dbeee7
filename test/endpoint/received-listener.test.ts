import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, fstatSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { createSocket } from 'node:dgram';
import { FdPasser, FdServer, OwnedFd, connect, fdpasserAccept, listen, socketpair } from 'fdpasser';
import { addon } from '#dist/native/load.js';
import { ended, message, startChild } from '../support/child.js';
import { O_CLOEXEC, O_NONBLOCK, anonymousFile, flagsOf, identity, inFolder } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';

/**
 * Listens on an abstract name with this socket type, blocking like servers in Perl and Python, and sends the socket
 * over descriptor 3.
 */
const LISTENER = `
import os, socket, sys
wire = socket.socket(fileno=3)
listener = socket.socket(socket.AF_UNIX, getattr(socket, "SOCK_" + sys.argv[2].upper()))
listener.bind(bytes.fromhex(sys.argv[1]))
listener.listen(5)
socket.send_fds(wire, [b"x"], [listener.fileno()])
`;

async function madeByAnother(name: string, type: string): Promise<OwnedFd> {
  needs('python3');
  const [ours, theirs] = socketpair();
  await using passer = new FdPasser({ fh: ours });
  const { LD_PRELOAD: _, ...env } = process.env;
  const args = ['-c', LISTENER, Buffer.from(name).toString('hex'), type];
  const python = spawn('python3', args, { env, stdio: ['ignore', 'inherit', 'inherit', theirs.fd] });
  theirs.close();
  const end = once(python, 'exit');
  const listener = await passer.receive();
  assert.deepEqual(await end, [0, null]);
  return listener;
}

/** Connects, and checks that both are ends of the same connection. */
async function assertAccepts(
  accept: () => Promise<OwnedFd>,
  path: string,
  type: 'stream' | 'seqpacket',
): Promise<void> {
  await using client = new FdPasser({ fh: await connect(path, { type }) });
  const connection = await accept();
  assert.equal(flagsOf(connection.fd) & (O_CLOEXEC | O_NONBLOCK), O_CLOEXEC | O_NONBLOCK);
  await using passer = new FdPasser({ fh: connection });
  const fd = anonymousFile();
  const file = identity(fd);
  passer.pushSendFh(fd);
  using received = await client.receive();
  assert.equal(identity(received.fd), file);
}

/** Others may share a received socket, so it ends only when the thread that closes it has done so. */
async function assertNobodyListens(path: string, type: 'stream' | 'seqpacket'): Promise<void> {
  try {
    for (;;) (await connect(path, { type })).close();
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ECONNREFUSED');
  }
}

test('a server over a listener that another process made accepts, knows its name and leaves its path', async () => {
  await inFolder(async (folder) => {
    const longest = `${folder}/`.padEnd(107, 'x');
    for (const type of ['stream', 'seqpacket'] as const)
      for (const path of [`${folder}/${type}`, `\0${folder}\0${type}\0`]) {
        const listener = await madeByAnother(path, type);
        const { fd } = listener;
        assert.equal(flagsOf(fd) & O_NONBLOCK, 0);
        {
          using server = FdServer.from(listener);
          assert.equal(listener.closed, true);
          assert.deepEqual([server.path, server.fd], [path, fd]);
          assert.equal(flagsOf(fd) & (O_CLOEXEC | O_NONBLOCK), O_CLOEXEC | O_NONBLOCK);
          await assertAccepts(() => server.accept(), path, type);
        }
        assert.throws(() => fstatSync(fd), { code: 'EBADF' });
        await assertNobodyListens(path, type);
        assert.equal(existsSync(`${folder}/${type}`), true);
      }
    using server = FdServer.from(await madeByAnother(longest, 'stream'));
    assert.equal(server.path, longest);
  });
});

test('processes that share a listener each accept, and none waits for what another took', async () => {
  await inFolder(async (folder) => {
    using first = listen(`${folder}/socket`);
    const child = startChild('endpoint/inherited-listener', { args: ['1'], peer: first });
    const end = ended(child);
    assert.equal(await message(child), first.path);
    {
      await using client = new FdPasser({ fh: await connect(first.path) });
      using fd = await client.receive();
      assert.equal(fstatSync(fd.fd).ino, statSync(process.execPath).ino);
    }
    const { code, signal, stderr } = await end;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    await assertAccepts(() => first.accept(), first.path, 'stream');

    const copies = [first.fd, first.fd].map((fd) => FdServer.from(copyOf(fd)));
    const accepted: OwnedFd[] = [];
    const accepting = copies.map(async (copy) => {
      for await (const connection of copy) if (accepted.push(connection) === 20) copies.forEach((each) => each.close());
    });
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect(first.path)));
    await Promise.all(accepting);
    OwnedFd.closeAll([...accepted, ...clients]);
    assert.equal(accepted.length, 20);
    assert.equal(existsSync(first.path), true);
  });
});

test('a server over a received listener obeys allow', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    let asked = 0;
    using server = FdServer.from(await madeByAnother(path, 'stream'), { allow: ({ pid }) => ++asked > 1 && pid > 0 });
    const refused = new FdPasser({ fh: await connect(path) });
    await assertAccepts(() => server.accept(), path, 'stream');
    await assert.rejects(refused.receive(), { message: /the peer closed its end/ });
  });
});

test("a socket that does not listen is refused, and stays its owner's", async () => {
  const [a, b] = socketpair();
  const tcp = createServer().listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const udp = createSocket('udp4').bind(0, '127.0.0.1');
  await once(udp, 'listening');
  using datagrams = listen(`\0fdpasser-no-listener-${process.pid}`, { type: 'dgram' });
  using bound = await datagrams.accept();
  using file = new OwnedFd(anonymousFile());
  const sockets = [tcp, udp].map((server) => copyOf((server as unknown as { _handle: { fd: number } })._handle.fd));
  const wrong: [number | OwnedFd, string][] = [
    [file, 'ENOTSOCK'],
    [sockets[0]!, 'EAFNOSUPPORT'],
    [sockets[1]!, 'EAFNOSUPPORT'],
    [a, 'EINVAL'],
    [bound, 'EINVAL'],
    [1 << 20, 'EBADF'],
  ];
  for (const [fd, code] of wrong) {
    const message = code === 'EBADF' ? /is not open/ : /, accept\. This is no listening AF_UNIX socket/;
    assert.throws(() => FdServer.from(fd), { code, message });
    await assert.rejects(fdpasserAccept(fd), { code, message });
    if (code !== 'EBADF') fstatSync(typeof fd === 'number' ? fd : fd.fd);
  }
  assert.throws(() => FdServer.from(tcp), { code: 'ERR_FDPASSER_MANAGED' });
  assert.throws(() => FdServer.from(a, { allow: true as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => FdServer.from('3' as never), { code: 'ERR_INVALID_ARG_TYPE' });
  a.close();
  assert.throws(() => FdServer.from(a), { code: 'ERR_FDPASSER_NOT_OWNED' });
  await assert.rejects(fdpasserAccept(a));
  OwnedFd.closeAll([b, ...sockets.map((fd) => new OwnedFd(fd))]);
  for (const server of [tcp, udp]) await new Promise<void>((closed) => void server.close(() => closed()));
});

// Only libuv's poller notices what libuv watches.
if (process.env.FDPASSER_POLLER !== 'thread')
  test('a listener that a net.Server accepts from makes no second server of its number', async () => {
    await inFolder(async (folder) => {
      const path = `${folder}/socket`;
      const node = createServer((socket) => socket.end()).listen(path);
      await once(node, 'listening');
      const { fd } = (node as unknown as { _handle: { fd: number } })._handle;
      assert.throws(() => FdServer.from(fd), { code: 'EEXIST' });
      await using client = new FdPasser({ fh: await connect(path) });
      await assert.rejects(client.receive(), { message: /the peer closed its end/ });
      node.close();
      await once(node, 'close');
    });
  });

test("fdpasserAccept accepts from any listening descriptor, which stays its owner's", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    using listener = await madeByAnother(path, 'stream');
    for (const fh of [listener, listener.fd, { fd: listener.fd }])
      await assertAccepts(() => fdpasserAccept(fh), path, 'stream');
    const accepting = fdpasserAccept(listener);
    await assertAccepts(() => accepting, path, 'stream');
    assert.equal(listener.closed, false);
  });
});

/** Another number of the same open file, which nobody owns yet. */
function copyOf(fd: number): number {
  const copy = addon.dup(fd);
  addon.release(copy);
  return copy;
}
