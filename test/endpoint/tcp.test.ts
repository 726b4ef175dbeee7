import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';
import { FdPasser, FdServer, OwnedFd, TcpServer, connect, listen, socketpair, type TcpConnection } from 'fdpasser';
import { ended, message, startChild } from '../support/child.js';
import { O_CLOEXEC, O_NONBLOCK, flagsOf, inFolder } from '../support/descriptors.js';
import { block } from '../support/block.js';
import { turns } from '../support/passing.js';
import { test } from '../support/test.js';

async function client(server: TcpServer): Promise<Socket> {
  const socket = netConnect(server.address().port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

async function clients(server: TcpServer, count: number): Promise<Socket[]> {
  return Promise.all(Array.from({ length: count }, () => client(server)));
}

async function finish(...sockets: Socket[]): Promise<void> {
  await Promise.all(
    sockets.map(async (socket) => {
      socket.on('error', () => {});
      if (!socket.closed) await once(socket.destroy(), 'close');
    }),
  );
}

test('a TCP server accepts all waiting connections in one call, each with the address of its peer', async () => {
  using server = listen({ port: 0, host: '127.0.0.1' });
  const sockets = await clients(server, 20);
  const accepted: TcpConnection[] = [];
  while (accepted.length < 20) accepted.push(...(await server.acceptMany(8)));
  assert.deepEqual(
    new Set(accepted.map(({ remote }) => remote.port)),
    new Set(sockets.map(({ localPort }) => localPort)),
  );
  for (const connection of accepted) {
    assert.deepEqual({ ...connection.remote, port: 0 }, { address: '127.0.0.1', family: 'IPv4', port: 0 });
    assert.equal(flagsOf(connection.fd.fd) & (O_CLOEXEC | O_NONBLOCK), O_CLOEXEC | O_NONBLOCK);
    connection.close();
  }
  await finish(...sockets);
});

test('acceptMany brings no more than it is asked for, and the rest waits', async () => {
  using server = listen({ port: 0, host: '127.0.0.1' });
  const sockets = await clients(server, 5);
  const first = await server.acceptMany(2);
  const rest = await server.acceptMany(64);
  assert.equal(first.length, 2);
  assert.equal(rest.length, 3);
  for (const connection of [...first, ...rest]) connection.close();
  await finish(...sockets);
});

test('an aborted accept of a TCP server loses no connection', async () => {
  using server = listen({ port: 0, host: '127.0.0.1' });
  const stop = new AbortController();
  const aborted = server.accept({ signal: stop.signal });
  stop.abort();
  await assert.rejects(aborted, { name: 'AbortError' });
  const socket = await client(server);
  using connection = await server.accept();
  assert.equal(connection.remote.port, socket.localPort);
  await finish(socket);
});

test('bytes that a peek has shown are read by the process that gets the connection', async () => {
  using server = listen({ port: 0, host: '127.0.0.1' });
  const socket = await client(server);
  using connection = await server.accept();
  const peeked = connection.peek(5);
  assert.throws(() => connection.fd.take(), { code: 'ERR_FDPASSER_LENT' });
  socket.write('hello world');
  assert.equal((await peeked).toString(), 'hello');
  const served = connection.fd.toSocket();
  const [bytes] = (await once(served, 'data')) as [Buffer];
  assert.equal(bytes.toString(), 'hello world');
  await finish(served, socket);
});

test('a peek ends at its timeout, at the end of the other side and when the connection is closed', async () => {
  using server = listen({ port: 0, host: '127.0.0.1' });
  const [silent, over] = await clients(server, 2);
  const one = await server.accept();
  using two = await server.accept();
  const [quiet, ending] = one.remote.port === silent!.localPort ? [one, two] : [two, one];
  await assert.rejects(quiet.peek(1, { timeout: 10 }), { code: 'ERR_FDPASSER_TIMEOUT' });
  over!.end();
  assert.equal((await ending.peek(10)).length, 0);
  const waiting = quiet.peek(1);
  quiet.close();
  await assert.rejects(waiting, { code: 'ERR_FDPASSER_CLOSED' });
  ending.close();
  await finish(silent!, over!);
});

test('a peek brings bytes that came in time, although the process looks for them only after the timeout', async () => {
  using server = listen({ port: 0, host: '127.0.0.1' });
  const socket = await client(server);
  using connection = await server.accept();
  const peeked = connection.peek(5, { timeout: 500 });
  await turns();
  socket.write('hello');
  block(510);
  assert.equal((await peeked).toString(), 'hello');
  await finish(socket);
});

test('a TCP listener is adopted by another server, and its backlog keeps waiting', async () => {
  const first = listen({ port: 0, host: '127.0.0.1' });
  const { port } = first.address();
  const socket = await client(first);
  const listener = first.detach();
  await assert.rejects(first.accept(), { code: 'ERR_FDPASSER_CLOSED' });
  using second = TcpServer.from(listener);
  assert.equal(second.address().port, port);
  using connection = await second.accept();
  assert.equal(connection.remote.port, socket.localPort);
  await finish(socket);
});

test('only a listening TCP socket becomes a TCP server', async () => {
  const [one, other] = socketpair();
  assert.throws(() => TcpServer.from(one), { code: 'EAFNOSUPPORT' });
  one.close();
  other.close();
  using server = listen({ port: 0, host: '127.0.0.1' });
  const socket = await client(server);
  using connection = await server.accept();
  assert.throws(() => TcpServer.from(connection.fd), { code: 'EINVAL' });
  await finish(socket);
});

test('two TCP servers share a port if both ask for it', async () => {
  using one = listen({ port: 0, host: '127.0.0.1', reusePort: true });
  const { port } = one.address();
  assert.throws(() => listen({ port, host: '127.0.0.1' }), { code: 'EADDRINUSE' });
  using other = listen({ port, host: '127.0.0.1', reusePort: true });
  assert.equal(other.address().port, port);
});

test('listen refuses an invalid port, host and backlog', () => {
  assert.throws(() => listen({ port: 70_000 }), { code: 'ERR_OUT_OF_RANGE' });
  assert.throws(() => listen({ port: 0, host: 'localhost' }), { code: 'ERR_INVALID_ARG_VALUE' });
  assert.throws(() => listen({ port: 0, backlog: -1 }), { code: 'ERR_OUT_OF_RANGE' });
  assert.throws(() => listen({} as { port: number }), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => listen({ port: 0, ipv6only: true } as never), { message: /no option "ipv6only"/ });
});

test('TCP connections wait in the backlog while the table is full, and all are accepted later', async () => {
  const child = startChild('endpoint/accept-full', { descriptors: 128 });
  const end = ended(child);
  const port = await message<number>(child);
  const sockets = await Promise.all(
    Array.from({ length: 30 }, async () => {
      const socket = netConnect(port, '127.0.0.1');
      socket.on('error', () => {});
      await once(socket, 'connect');
      return socket;
    }),
  );
  child.send('connected');
  const { code, signal, stdout } = await end;
  assert.deepEqual({ code, signal, stdout }, { code: 0, signal: null, stdout: 'accepted 30\n' });
  await finish(...sockets);
});

test('a Unix server and its path are handed over to another process, which removes the path', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    const first = listen(path);
    const waiting = await connect(path);
    const [ours, theirs] = socketpair();
    await using passer = new FdPasser({ fh: ours });
    await using other = new FdPasser({ fh: theirs });
    await passer.send(first.detach());
    first.close();
    const second = FdServer.from(await other.receive(), { ownsPath: true });
    assert.equal(second.path, path);
    (await second.accept()).close();
    (await connect(path)).close();
    second.close();
    await assert.rejects(connect(path), { code: 'ENOENT' });
    waiting.close();
  });
});

test('a Unix server that adopts a listener without its path leaves the path', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    const listener: OwnedFd = listen(path).detach();
    FdServer.from(listener).close();
    await assert.rejects(connect(path), { code: 'ECONNREFUSED' });
  });
});
