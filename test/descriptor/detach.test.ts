import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { FdPasser, OwnedFd } from 'fdpasser';
import { connection, reads } from '../support/connection.js';
import { identity, inFolder, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

test('a detached connection goes on in another object, with what was written before and what was read already', async () => {
  const [client, accepted] = await connection();
  accepted.on('readable', () => {});
  client.write('read');
  await until(() => accepted.readableLength === 4);
  accepted.cork();
  accepted.write(Buffer.alloc(3 << 20, 'p')); // more than the kernel takes at once
  const closed = once(accepted, 'close');
  const detaching = OwnedFd.detach(accepted);
  let received = 0;
  client.on('data', (bytes: Buffer) => (received += bytes.length));
  client.write(' and not read');
  const owned = await detaching;
  await closed;
  assert.equal(owned.unread?.toString(), 'read');
  const socket = owned.toSocket();
  await reads(socket, 'read and not read');
  socket.end('.');
  await until(() => received === (3 << 20) + 1);
  client.end();
});

test('a detached connection is not shut down, and its peer notices nothing', async () => {
  const [client, accepted] = await connection();
  const owned = await OwnedFd.detach(accepted);
  assert.ok(accepted.destroyed);
  client.write('on');
  const socket = owned.toSocket();
  await reads(socket, 'on');
  socket.end();
  client.end();
  await once(client, 'close');
});

test('a detached Unix server keeps its path, and those who connect meanwhile are served by the next one', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'server');
    const server = createServer().listen(path);
    await once(server, 'listening');
    const closed = once(server, 'close');
    const owned = await OwnedFd.detach(server);
    await closed;
    assert.ok(existsSync(path));
    assert.ok(owned.listening);
    const client = connect(path);
    await once(client, 'connect');
    const next = owned.toServer((socket) => socket.end('next'));
    await reads(client, 'next');
    next.close();
  });
});

test('a datagram socket, a file and a stream of a file can be detached', async () => {
  const udp = createSocket('udp4').bind(0, '127.0.0.1');
  await once(udp, 'listening');
  const { port } = udp.address();
  const detached = await OwnedFd.detach(udp);
  const again = detached.toDgram();
  assert.equal(again.address().port, port);
  again.close();
  await once(again, 'close');

  const file = await open(process.execPath);
  const of = identity(file.fd);
  const owned = await OwnedFd.detach(file);
  assert.equal(identity(owned.fd), of);
  const stream = owned.createReadStream({ start: 0 });
  using last = await OwnedFd.detach(stream as Parameters<typeof OwnedFd.detach>[0]);
  assert.equal(identity(last.fd), of);
  await until(() => stream.destroyed);
});

test('an object that cannot be detached works as before', async () => {
  const [client, accepted] = await connection();
  accepted.setEncoding('utf8').on('readable', () => {});
  client.write('text');
  await until(() => accepted.readableLength === 4);
  await assert.rejects(OwnedFd.detach(accepted), { code: 'ERR_FDPASSER_UNREAD' });
  client.write(' more');
  await until(() => accepted.readableLength === 9);
  assert.equal(accepted.read(), 'text more');

  const passer = new FdPasser();
  const sending = passer.send(accepted).catch((error: Error) => error);
  await assert.rejects(OwnedFd.detach(accepted), { code: 'ERR_FDPASSER_NOT_OWNED' });
  passer.destroy();
  await sending;
  client.write('!');
  await once(accepted, 'readable');
  accepted.destroy();
  client.destroy();

  await assert.rejects(OwnedFd.detach(accepted), { code: 'ERR_FDPASSER_NOT_OPEN' });
  await assert.rejects(OwnedFd.detach(7 as never), { code: 'ERR_INVALID_ARG_TYPE' });
  await assert.rejects(OwnedFd.detach(new TLSSocket(client)), { code: 'ERR_FDPASSER_TLS' });
});

test('a connection that its owner destroys while it waits is not detached', async () => {
  const [client, accepted] = await connection();
  accepted.write(Buffer.alloc(16 << 20));
  const detaching = OwnedFd.detach(accepted);
  accepted.destroy();
  await assert.rejects(detaching, { code: 'ERR_FDPASSER_NOT_OPEN' });
  client.destroy();
});

test('bytes written in a callback before the connection departs leave first', async () => {
  const [client, accepted] = await connection();
  accepted.write(Buffer.alloc(4 << 20), () => accepted.write('last'));
  const detaching = OwnedFd.detach(accepted);
  let text = '';
  client.on('data', (bytes: Buffer) => (text = (text + bytes.toString('latin1')).slice(-4)));
  const owned = await detaching;
  await until(() => text === 'last');
  owned.close();
  client.destroy();
});

test('a duplicate is the same connection, and its object goes on', async () => {
  const [client, accepted] = await connection();
  const copy = OwnedFd.duplicate(accepted);
  accepted.write('one');
  await reads(client, 'one');
  accepted.destroy();
  const socket = copy.toSocket();
  socket.write('two');
  await reads(client, 'two');
  socket.destroy();
  client.destroy();
  assert.throws(() => OwnedFd.duplicate(accepted), { code: 'ERR_FDPASSER_NOT_OPEN' });
  const server = createServer();
  assert.throws(() => OwnedFd.duplicate(server), { code: 'ERR_FDPASSER_NOT_OPEN' });
  assert.throws(() => OwnedFd.duplicate(copy as never), { code: 'ERR_INVALID_ARG_TYPE' });
});

test('an upgraded connection is detached with the bytes that came behind its request', async () => {
  const server = createHttpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.write('GET /chat HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\nhead');
  const [, socket, head] = (await once(server, 'upgrade')) as [IncomingMessage, Socket, Buffer];
  assert.equal(head.toString(), 'head');
  socket.unshift(head);
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: any\r\n\r\n');
  const owned = await OwnedFd.detach(socket);
  server.close().closeAllConnections();
  client.write(' and tail');
  const next = owned.toSocket();
  await reads(next, 'head and tail');
  next.destroy();
  client.destroy();
});
