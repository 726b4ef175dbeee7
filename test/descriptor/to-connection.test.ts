import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { FdChannel, OwnedFd, socketpair } from 'fdpasser';
import { cert, key } from '../support/certificate.js';
import { ended, startChild } from '../support/child.js';
import { connection, reads } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** Waits until the other side has ended a connection. */
async function isEnded(client: Socket): Promise<void> {
  await once(client.resume(), 'end');
  client.destroy();
}

/** A client, and its connection as if another process had accepted it and read its first bytes, `read`. */
async function arrived(first = '', read = first.length): Promise<[client: Socket, owned: OwnedFd]> {
  const [client, accepted] = await connection();
  if (first !== '') {
    client.write(first.slice(0, read));
    accepted.on('readable', () => {});
    await until(() => accepted.readableLength === read);
    client.write(first.slice(read));
  }
  return [client, await OwnedFd.detach(accepted)];
}

async function listening<T extends Server>(server: T): Promise<T> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function count(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, connections) => (error === null ? resolve(connections) : reject(error)));
  });
}

const REQUEST = 'GET /first HTTP/1.1\r\nHost: here\r\n\r\n';

test('close() waits for a connection that was made with toConnection, and not for one that was emitted', async () => {
  for (const [how, counted] of [
    ['toConnection', 1],
    ['emit', 0],
  ] as const) {
    const answers: (() => void)[] = [];
    const server = await listening(createHttpServer((_, response) => void answers.push(() => response.end('done'))));
    const [client, owned] = await arrived(REQUEST, 10);
    if (how === 'emit') server.emit('connection', owned.toSocket());
    else owned.toConnection(server);
    await until(() => answers.length === 1);
    assert.equal(await count(server), counted);
    let answered = false;
    const closed = new Promise<boolean>((resolve) => server.close(() => resolve(answered)));
    if (how === 'emit') assert.equal(await closed, false, 'closed while a request is under way');
    answered = true;
    answers[0]!();
    assert.match(await text(client), /done/);
    if (how === 'toConnection') assert.equal(await closed, true);
    client.destroy();
  }
});

test('closeIdleConnections ends an idle one, and any other one where the server ends its own', async () => {
  const server = await listening(createHttpServer());
  const own = connect((server.address() as AddressInfo).port);
  const [accepted] = (await once(server, 'connection')) as [Socket];
  const [client, owned] = await arrived();
  const [other, handed] = await arrived();
  owned.toConnection(server, { idle: true });
  const socket = handed.toConnection(server)!;
  server.closeIdleConnections();
  await isEnded(client);
  assert.equal(socket.destroyed, accepted.destroyed); // since Node 26 before its first request
  for (const each of [own, accepted, socket, other]) each.destroy();
  server.close();
});

test('an idle connection is ended by keepAliveTimeout, of a server that listens and of one that does not', async () => {
  for (const start of [listening, (server: HttpServer) => server]) {
    const server = await start(createHttpServer({ keepAliveTimeout: 50 }));
    const [client, owned] = await arrived();
    const socket = owned.toConnection(server, { idle: true })!;
    assert.ok(socket.timeout! >= 50);
    await isEnded(client);
    if (server.listening) server.close();
  }
});

test('a request to an idle connection may take longer than keepAliveTimeout', async () => {
  const server = createHttpServer({ keepAliveTimeout: 1 });
  const [client, owned] = await arrived();
  const socket = owned.toConnection(server, { idle: true })!;
  client.write(REQUEST);
  const [, response] = (await once(server, 'request')) as [IncomingMessage, NodeJS.WritableStream];
  assert.equal(socket.timeout, 0);
  response.end('late');
  let answer = '';
  client.on('data', (bytes: Buffer) => (answer += bytes.toString()));
  await until(() => answer.includes('late'));
  await isEnded(client);
});

test('an idle connection with the beginning of its next request is answered once', async () => {
  for (const read of [1, 10, REQUEST.length]) {
    const requests: string[] = [];
    const server = createHttpServer((request, response) => {
      requests.push(`${request.method} ${request.url} ${request.headers.host}`);
      response.setHeader('connection', 'close').end();
    });
    const [client, owned] = await arrived(REQUEST, read);
    owned.toConnection(server, { idle: true });
    assert.match(await text(client), /^HTTP\/1.1 200 OK\r\n/);
    assert.deepEqual(requests, ['GET /first here']);
    client.destroy();
  }
});

test('headersTimeout ends a connection that says nothing, of a server that does not listen', async () => {
  const server = createHttpServer({ headersTimeout: 20, connectionsCheckingInterval: 10 });
  const [client, owned] = await arrived();
  owned.toConnection(server);
  assert.match(await text(client), /408 Request Timeout/);
  client.destroy();
  server.close();
});

test('a net.Server has the bytes that were read elsewhere first', async () => {
  const server = await listening(createServer());
  const [client, owned] = await arrived('one two', 3);
  const connected = once(server, 'connection') as Promise<[Socket]>;
  const socket = owned.toConnection(server)!;
  assert.equal((await connected)[0], socket);
  assert.ok(owned.closed);
  await reads(socket, 'one two');
  assert.equal(await count(server), 1);
  socket.end();
  await isEnded(client);
  await new Promise((resolve) => void server.close(resolve));
});

test('an https server begins TLS with the bytes that were read elsewhere', async () => {
  for (const readHere of [false, true]) {
    const server = createHttpsServer({ key, cert }, (request, response) => {
      response.setHeader('connection', 'close').end(`secure ${request.url}`);
    });
    const [client, accepted] = await connection();
    const secure = connectTls({ socket: client, ca: cert, servername: 'localhost' });
    secure.write(REQUEST);
    if (readHere) {
      accepted.on('readable', () => {});
      await until(() => accepted.readableLength > 0);
    }
    const owned = await OwnedFd.detach(accepted);
    assert.equal(owned.unread !== undefined, readHere);
    owned.toConnection(server);
    assert.match(await text(secure), /secure \/first/);
    client.destroy();
  }
});

test('an http2 server begins its session with the bytes that were read elsewhere', async () => {
  for (const readHere of [false, true]) {
    const server = createHttp2Server((request, response) => response.end(`two ${request.url}`));
    const [client, accepted] = await connection();
    const session = connectHttp2('http://localhost', { createConnection: () => client });
    const stream = session.request({ ':path': '/first' });
    if (readHere) {
      accepted.on('readable', () => {});
      await until(() => accepted.readableLength > 0);
    }
    const owned = await OwnedFd.detach(accepted);
    owned.toConnection(server);
    assert.equal(await count(server), 1);
    assert.equal(await text(stream), 'two /first');
    session.close();
    await once(session, 'close');
    await until(() => client.destroyed);
  }
});

test('the options of the server hold: allowHalfOpen, pauseOnConnect, highWaterMark', async () => {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, highWaterMark: 1234 });
  const [client, owned] = await arrived('bytes', 2);
  const socket = owned.toConnection(server)!;
  assert.ok(socket.allowHalfOpen);
  assert.ok(socket.isPaused());
  assert.equal(socket.readableHighWaterMark, 1234);
  client.end();
  socket.resume();
  await once(socket, 'end');
  socket.end('after the end of the other');
  assert.equal(await text(client), 'after the end of the other');
});

test('a server with maxConnections drops further connections', async () => {
  const server = createServer();
  server.maxConnections = 1;
  const [client, owned] = await arrived();
  const [other, dropped] = await arrived();
  const socket = owned.toConnection(server)!;
  const drop = once(server, 'drop');
  assert.equal(dropped.toConnection(server), undefined);
  await drop;
  await isEnded(other);
  assert.ok(dropped.closed);
  socket.destroy();
  client.destroy();
});

test("a server that does not listen emits 'close' when it is closed, and not when its last connection ends", async () => {
  const server = createHttpServer((_, response) => response.end('done'));
  let closes = 0;
  server.on('close', () => closes++);
  for (let i = 0; i < 2; i++) {
    const [client, owned] = await arrived(REQUEST.replace('Host', 'Connection: close\r\nHost'), 10);
    const accepted = owned.toConnection(server)!;
    assert.match(await text(client), /done/);
    client.destroy(); // which `text` does in some versions of Node
    if (!accepted.closed) await once(accepted, 'close');
    await new Promise((resolve) => setImmediate(resolve)); // Node emits the server's in the next tick
    assert.equal(closes, 0);
  }
  server.close();
  await until(() => closes === 1);
});

test('a closed server refuses a connection, which stays its owner’s', async () => {
  for (const start of [listening, (server: Server) => server]) {
    const server = await start(createServer());
    server.close();
    const [client, owned] = await arrived('x');
    assert.throws(() => owned.toConnection(server), { code: 'ERR_FDPASSER_CLOSED' });
    const socket = owned.toSocket();
    await reads(socket, 'x');
    socket.destroy();
    client.destroy();
  }
});

test('toConnection refuses a wrong descriptor, server or option, and the descriptor stays its owner’s', async () => {
  const server = createServer();
  const [a, b] = socketpair();
  const [seq, end] = socketpair({ type: 'seqpacket' });
  assert.throws(() => seq.toConnection(server), { code: 'ERR_FDPASSER_WRONG_KIND' });
  assert.throws(() => a.toConnection({} as never), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => a.toConnection(server, { idle: 1 } as never), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => a.toConnection(server, { idel: true } as never), { code: 'ERR_INVALID_ARG_VALUE' });
  const socket = a.toConnection(server)!; // a Unix connection, to any server
  const peer = b.toSocket();
  peer.write('x');
  await reads(socket, 'x');
  for (const one of [socket, peer]) one.destroy();
  for (const one of [seq, end]) one.close();
});

test('an error that a listener throws is an uncaught exception, and the descriptor is closed once', async () => {
  const { code, signal, stdout, stderr } = await ended(startChild('descriptor/throwing-listener'));
  assert.deepEqual(
    { code, signal, stdout, stderr },
    { code: 0, signal: null, stdout: 'caught: of a listener', stderr: '' },
  );
});

test('a worker of a cluster makes connections of its server', async () => {
  const [ours, theirs] = socketpair();
  const child = startChild('descriptor/cluster', { peer: theirs });
  theirs.close();
  const end = ended(child);
  const channel = new FdChannel(ours);
  const [client, owned] = await arrived(REQUEST, 5);
  await channel.send(null, [owned]);
  assert.match(await text(client), /worker, 1 connection/);
  client.destroy();
  await channel.close();
  const { code, signal, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
});
