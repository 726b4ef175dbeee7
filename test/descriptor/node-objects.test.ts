import assert from 'node:assert/strict';

import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once, type EventEmitter } from 'node:events';
import {
  constants,
  createReadStream,
  createWriteStream,
  fstatSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { Socket, connect, createServer } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { FdChannel, FdPasser, FdStream, OwnedFd, socketpair, type FdLike } from 'fdpasser';
import { ended, message, startChild } from '../support/child.js';
import { connection, reads, withChild } from '../support/connection.js';
import { anonymousFile, identity, inFolder, until } from '../support/descriptors.js';
import { passed } from '../support/passing.js';
import { test } from '../support/test.js';

const UNREAD = { code: 'ERR_FDPASSER_UNREAD' };

test('a connection goes on in the process that it is sent to', async () => {
  await withChild('descriptor/node-objects', async (passer) => {
    const [client, accepted] = await connection();
    accepted.on('data', (bytes: Buffer) => accepted.write(`parent:${bytes.toString()}`));
    client.write('one');
    await reads(client, 'parent:one');
    const closed = once(accepted, 'close');
    await passer.send(accepted);
    assert.equal(accepted.destroyed, true);
    await closed;
    client.write('two');
    await reads(client, 'child:two');
    client.end();
    await once(client, 'close');
  });
});

test('a half-closed connection goes on in the process that it is sent to', async () => {
  await withChild('descriptor/node-objects', async (passer, child) => {
    const [client, accepted] = await connection({ allowHalfOpen: true });
    const end = once(client, 'end');
    accepted.end('bye');
    await passer.send(accepted);
    await reads(client, 'bye');
    client.write('heard');
    assert.equal(await message(child), 'heard');
    await end;
    client.end();
  });
});

test('bytes written before go out first, and later sends wait', async () => {
  await withChild('descriptor/node-objects', async (passer, child) => {
    const [client, accepted] = await connection();
    const size = 16 << 20;
    accepted.write(Buffer.alloc(size, 'x'));
    const sent: string[] = [];
    passer.pushSendFh(accepted, () => sent.push('connection'));
    passer.pushSendFh(anonymousFile(), () => sent.push('file'));
    for (let i = 0; i < 10; i++) await turn();
    assert.deepEqual(sent, []);
    let got = 0;
    while (got < size) {
      const bytes = client.read() as Buffer | null;
      if (bytes === null) await once(client, 'readable');
      else got += bytes.length;
    }
    assert.equal(got, size);
    const reported = message(child);
    client.write('now');
    await reads(client, 'child:now');
    assert.equal(await reported, '');
    assert.deepEqual(sent, ['connection', 'file']);
    client.end();
  });
});

test("a child's output is read in the process that its pipe is sent to", async () => {
  await withChild('descriptor/node-objects', async (passer, child) => {
    const cat = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
    const end = once(cat, 'close');
    await passer.send(cat.stdout as Socket);
    cat.stdin.end('through cat');
    assert.equal(await message(child), 'through cat');
    assert.deepEqual(await end, [0, null]);
  });
});

for (const how of ['flowing', 'paused', 'iterated'] as const) {
  test(`a connection that is ${how}, and was not sent, reads on where it was`, async () => {
    const passer = new FdPasser();
    const [client, accepted] = await connection();
    let got = '';
    if (how === 'flowing') accepted.on('data', (bytes: Buffer) => (got += bytes.toString()));
    const iterating =
      how === 'iterated' &&
      (async () => {
        for await (const bytes of accepted) got += (bytes as Buffer).toString();
      })();
    await turn();
    const abort = new AbortController();
    const sending = passer.send(accepted, { signal: abort.signal });
    client.write('kept');
    if (how === 'flowing') accepted.resume();
    else accepted.read(0);
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(got, '');
    assert.equal(accepted.readableLength, 0);
    abort.abort();
    await assert.rejects(sending, { name: 'AbortError' });
    if (how === 'paused') {
      await reads(accepted, 'kept');
      accepted.on('data', (bytes: Buffer) => (got += bytes.toString()));
    }
    client.end('-on');
    await once(accepted, 'close');
    await iterating;
    assert.equal(got, how === 'paused' ? '-on' : 'kept-on');
    await passer.close();
  });
}

test('a connection with unread bytes is refused over a bare wire, and reads them', async () => {
  const [near, far] = socketpair();
  await using passer = new FdPasser({ fh: near });
  await using stream = new FdStream(far);
  const [client, accepted] = await connection();
  client.write('unread');
  await once(accepted, 'readable');
  assert.throws(() => passer.pushSendFh(accepted), UNREAD);
  await assert.rejects(passer.send(accepted), UNREAD);
  assert.throws(() => stream.writeWithFds(Buffer.from('x'), [accepted]), UNREAD);
  client.write(' and more');
  await reads(accepted, 'unread and more');
  client.end();
  accepted.resume();
  await once(accepted, 'close');
});

test('a connection that is refused with a full buffer, or at its end, loses nothing', async () => {
  const passer = new FdPasser();
  for (const size of [10, 1 << 20]) {
    const [client, accepted] = await connection();
    const bytes = randomBytes(size);
    client.end(bytes);
    accepted.once('readable', () => {});
    await until(() => accepted.readableLength >= Math.min(size, accepted.readableHighWaterMark));
    for (let i = 0; i < 10; i++) await turn();
    await assert.rejects(passer.send(accepted), UNREAD);
    assert.deepEqual(await buffer(accepted), bytes);
    client.destroy();
    await once(accepted, 'close');
  }
  await passer.close();
});

test('bytes that were taken out of a connection to travel with it come back with it', async () => {
  const internals = new URL('../../../dist/descriptor/outgoing.js', import.meta.url).href;
  const { outgoing } = (await import(internals)) as {
    outgoing: (fh: FdLike, terms: 'return', bare: boolean) => Taken;
  };
  for (const ends of [true, false]) {
    const [client, accepted] = await connection();
    const bytes = randomBytes(ends ? 10 : 100_000);
    client.write(bytes);
    if (ends) client.end();
    const got: Buffer[] = [];
    accepted.on('data', (more: Buffer) => got.push(more)).pause();
    await until(() => accepted.readableLength >= Math.min(bytes.length, accepted.readableHighWaterMark));
    for (let i = 0; i < 10; i++) await turn();
    const waiting = outgoing(accepted, 'return', false);
    const taken = waiting.unread!;
    assert.deepEqual(taken, bytes.subarray(0, taken.length));
    assert.equal(accepted.read(), null);
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(accepted.writable, true);
    waiting.giveBack();
    assert.equal(got.length, 0);
    accepted.resume();
    client.end();
    await once(accepted, 'close');
    assert.deepEqual(Buffer.concat(got), bytes);
  }
});

interface Taken {
  readonly unread: Buffer | undefined;
  giveBack(): void;
}

test('a connection is refused when bytes are put back while it waits, and reads them', async () => {
  const [near, far] = socketpair();
  await using passer = new FdPasser({ fh: near });
  const [client, accepted] = await connection();
  const sending = passer.send(accepted);
  accepted.unshift('put back');
  await assert.rejects(sending, UNREAD);
  await reads(accepted, 'put back');
  client.end('more');
  await reads(accepted, 'more');
  accepted.destroy();
  far.close();
});

test('a connection that is refused when its turn comes is closed if it was handed over, and the passer goes on', async () => {
  const [near, far] = socketpair();
  await using passer = new FdPasser({ fh: near });
  await using peer = new FdPasser({ fh: far });
  const warned = once(process, 'warning') as Promise<[NodeJS.ErrnoException]>;
  const [client, accepted] = await connection();
  passer.pushSendFh(accepted, () => assert.fail('sent'));
  const file = anonymousFile();
  const expected = identity(file);
  const sending = passer.send(file);
  accepted.unshift('put back');
  const [{ code }] = await warned;
  assert.equal(code, UNREAD.code);
  assert.equal(accepted.destroyed, true);
  await sending;
  using received = await peer.receive();
  assert.equal(identity(received.fd), expected);
  client.destroy();
});

test('a stream whose connection has unread bytes when its turn comes ends, and closes all that it was given', async () => {
  const [near, far] = socketpair();
  const stream = new FdStream(near);
  const [client, accepted] = await connection();
  const owned = new OwnedFd(anonymousFile());
  stream.writeWithFds(Buffer.from('x'), [owned, accepted]);
  accepted.unshift('put back');
  const [error] = (await once(stream, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, UNREAD.code);
  assert.equal(accepted.destroyed, true);
  assert.equal(owned.closed, true);
  client.destroy();
  far.close();
});

test('text that setEncoding made is not sent', async () => {
  const passer = new FdPasser();
  const [client, accepted] = await connection();
  let got = '';
  accepted.setEncoding('utf8').on('data', (text: string) => (got += text));
  const [first, second] = Buffer.from('ä');
  client.write(Buffer.of(first!));
  await until(() => accepted.bytesRead === 1);
  await assert.rejects(passer.send(accepted), UNREAD);
  client.end(Buffer.of(second!));
  await once(accepted, 'close');
  assert.equal(got, 'ä');
  await passer.close();
});

test('a connection that closes while it waits is not sent, and the passer goes on', async () => {
  await withChild('descriptor/node-objects', async (passer, child) => {
    const [client, accepted] = await connection();
    accepted.write(Buffer.alloc(16 << 20));
    passer.pushSendFh(accepted, () => assert.fail('sent'));
    const [other, second] = await connection();
    second.write(Buffer.alloc(16 << 20));
    const sending = passer.send(second);
    accepted.destroy();
    second.destroy();
    await assert.rejects(sending, { code: 'ERR_FDPASSER_NOT_OPEN' });
    passer.pushSendFh(anonymousFile());
    assert.equal(await message(child), '');
    client.destroy();
    other.destroy();
  });
});

test('with keepOpen both processes use the connection', async () => {
  await withChild('descriptor/node-objects', async (passer) => {
    const [client, accepted] = await connection();
    await passer.send(accepted, { keepOpen: true });
    accepted.pause();
    accepted.write('parent');
    await reads(client, 'parent');
    accepted.destroy();
    client.write('x');
    await reads(client, 'child:x');
    client.end();
  });
});

test('an object without a descriptor is refused', async () => {
  const passer = new FdPasser();
  const [client, accepted] = await connection();
  client.destroy();
  accepted.destroy();
  const connecting = connect(1, '127.0.0.1');
  const failed = once(connecting, 'error');
  for (const object of [new Socket(), accepted, connecting, createSocket('udp4').unref()])
    for (const keepOpen of [false, true])
      await assert.rejects(passer.send(object, { keepOpen }), { code: 'ERR_FDPASSER_NOT_OPEN' });
  await failed;
  await passer.close();
});

test('a connection is not sent twice', async () => {
  const passer = new FdPasser();
  const [client, accepted] = await connection();
  const sending = passer.send(accepted);
  await assert.rejects(passer.send(accepted), { code: 'ERR_FDPASSER_NOT_OWNED' });
  passer.destroy();
  await assert.rejects(sending, { code: 'ERR_FDPASSER_CLOSED' });
  client.end('still here');
  await reads(accepted, 'still here');
  accepted.destroy();
});

test('a TLS connection is refused, and the one below it once TLS has read from it', async () => {
  const passer = new FdPasser();
  const [client, accepted] = await connection();
  const secure = new TLSSocket(accepted);
  await assert.rejects(passer.send(secure), { code: 'ERR_FDPASSER_TLS' });
  await assert.rejects(passer.send(secure, { keepOpen: true }), { code: 'ERR_FDPASSER_TLS' });
  client.write(Buffer.of(0x16, 3, 1)); // how a record begins
  await until(() => accepted.bytesRead > 0);
  await assert.rejects(passer.send(accepted), { code: 'ERR_FDPASSER_TLS' });
  secure.destroy();
  client.destroy();
  await passer.close();
});

test('a connection below TLS is refused once its client has said hello', async () => {
  const passer = new FdPasser();
  const [client, accepted] = await connection();
  const secure = connectTls({ socket: client }).on('error', () => {});
  await once(accepted, 'readable');
  await assert.rejects(passer.send(client), { code: 'ERR_FDPASSER_TLS' });
  for (const socket of [secure, client, accepted]) socket.destroy();
  await passer.close();
});

test('a UDP socket goes on in the process that it is sent to', async () => {
  for (const [type, address] of [
    ['udp4', '127.0.0.1'],
    ['udp6', '::1'],
  ] as const) {
    await withChild('descriptor/node-objects', async (passer) => {
      const served = createSocket(type).bind(0, address);
      await once(served, 'listening');
      const { port } = served.address();
      const closed = once(served, 'close');
      await passer.send(served);
      await closed;
      const client = createSocket(type);
      client.send('ping', port, address);
      const [answer] = (await once(client, 'message')) as [Buffer];
      assert.equal(answer.toString(), 'child:ping');
      client.close();
    });
  }
});

test('a connected UDP socket arrives connected', async () => {
  const peer = createSocket('udp4').bind(0, '127.0.0.1');
  await once(peer, 'listening');
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  socket.connect(peer.address().port, '127.0.0.1');
  await once(socket, 'connect');
  const { port } = socket.address();
  const arrived = (await passed(socket)).toDgram();
  assert.equal(arrived.remoteAddress().port, peer.address().port);
  const heard = once(peer, 'message') as Promise<[Buffer, { port: number }]>;
  arrived.send('connected');
  const [message, from] = await heard;
  assert.deepEqual([message.toString(), from.port], ['connected', port]);
  arrived.disconnect();
  arrived.send('not any more', peer.address().port, '127.0.0.1');
  await once(peer, 'message');
  arrived.close();
  peer.close();
});

test('a FileHandle is closed by its own close() once it is sent', async () => {
  await inFolder(async (folder) => {
    await withChild('descriptor/node-objects', async (passer, child) => {
      writeFileSync(`${folder}/file`, 'contents');
      const handle = await open(`${folder}/file`);
      const closed = once(handle as unknown as EventEmitter, 'close');
      await passer.send(handle, { keepOpen: true });
      assert.equal(await message(child), 'contents');
      assert.equal((await handle.stat()).size, 8);
      await passer.send(handle);
      assert.equal(await message(child), 'contents');
      await closed;
      assert.equal(handle.fd, -1);
    });
  });
});

test('a FileHandle that was not sent works on', async () => {
  const passer = new FdPasser();
  const handle = await open('/dev/null');
  const sending = passer.send(handle);
  passer.destroy();
  await assert.rejects(sending, { code: 'ERR_FDPASSER_CLOSED' });
  assert.equal((await handle.stat()).isCharacterDevice(), true);
  await handle.close();
});

test('a WriteStream is sent when what was written to it is in the file', async () => {
  await inFolder(async (folder) => {
    await withChild('descriptor/node-objects', async (passer, child) => {
      const stream = createWriteStream(`${folder}/file`, { flags: 'w+' });
      for (let i = 0; i < 100; i++) stream.write(`${i},`);
      const closed = once(stream, 'close');
      passer.pushSendFh(stream);
      const text = await message<string>(child);
      assert.equal(text, readFileSync(`${folder}/file`, 'utf8'));
      assert.equal(text.split(',').length, 101);
      await closed;
    });
  });
});

test('a ReadStream is sent unless it has read ahead', async () => {
  await inFolder(async (folder) => {
    await withChild('descriptor/node-objects', async (passer, child) => {
      writeFileSync(`${folder}/file`, 'contents');
      const untouched = createReadStream(`${folder}/file`);
      const closed = once(untouched, 'close');
      await passer.send(untouched);
      assert.equal(await message(child), 'contents');
      await closed;

      const ahead = createReadStream(`${folder}/file`);
      await once(ahead, 'readable');
      await assert.rejects(passer.send(ahead), UNREAD);
      assert.equal((await ahead.toArray()).join(''), 'contents');

      const positioned = createReadStream(`${folder}/file`, { start: 0 });
      await once(positioned, 'readable');
      await passer.send(positioned);
      assert.equal(await message(child), 'contents');
    });
  });
});

test('an OwnedFd becomes only an object that its kind allows, and otherwise stays as it was', () => {
  const [near, far] = socketpair();
  const [seqpacket, other] = socketpair({ type: 'seqpacket' });
  const methods = ['toSocket', 'toServer', 'toDgram', 'toTty', 'createReadStream', 'createWriteStream'] as const;
  const refused = (owned: typeof near, except: readonly string[]): void => {
    for (const method of methods.filter((name) => !except.includes(name)))
      assert.throws(() => owned[method](), { code: 'ERR_FDPASSER_WRONG_KIND' }, method);
    assert.equal(owned.closed, false);
    assert.equal(fstatSync(owned.fd).isSocket(), true);
  };
  refused(near, ['toSocket']);
  refused(seqpacket, []);
  for (const owned of [near, far, seqpacket, other]) owned.close();
  assert.throws(() => near.toSocket(), { code: 'ERR_FDPASSER_NOT_OWNED' });
});

test("a descriptor opened with O_PATH has its own kind, and becomes none of Node's objects", async () => {
  await inFolder(async (folder) => {
    execFileSync('mkfifo', [`${folder}/fifo`]);
    symlinkSync('fifo', `${folder}/symlink`);
    const server = createServer().listen(`${folder}/socket`);
    await once(server, 'listening');
    const [O_PATH, methods] = [
      0o10000000,
      ['toSocket', 'toServer', 'toDgram', 'createReadStream', 'createWriteStream'],
    ];
    for (const [path, kind] of [
      [folder, 'directory'],
      [`${folder}/fifo`, 'fifo'],
      [`${folder}/symlink`, 'symlink'],
      [`${folder}/socket`, 'socket'],
      ['/dev/null', 'character-device'],
      [process.execPath, 'file'],
    ] as const) {
      using owned = new OwnedFd(openSync(path, O_PATH | constants.O_NOFOLLOW));
      assert.deepEqual([owned.kind, owned.listening], [kind, false]);
      for (const method of methods as 'toSocket'[])
        assert.throws(() => owned[method](), { code: 'ERR_FDPASSER_WRONG_KIND', message: /O_PATH/ }, method);
      assert.equal(owned.closed, false);
    }
    server.close();
    await once(server, 'close');
  });
});

test('bytes that the sender had read from a connection come first, and a bare wire refuses the connection', async () => {
  const passer = new FdPasser();
  const [client, accepted] = await connection();
  client.write('first, ');
  await once(accepted, 'readable');
  const [near, far] = socketpair();
  await using from = new FdChannel(near);
  await using to = new FdChannel(far);
  await from.send('a connection', [accepted]);
  const [owned] = (await to.receive()).fds;
  assert.deepEqual(owned!.unread, Buffer.from('first, '));
  await assert.rejects(passer.send(owned!), UNREAD);
  assert.equal(owned!.closed, false);
  client.end('second');
  const socket = owned!.toSocket();
  assert.equal((await socket.toArray()).join(''), 'first, second');
  await passer.close();
});

test('a fifo is readable or writable as it was opened', async () => {
  await inFolder(async (folder) => {
    execFileSync('mkfifo', [`${folder}/fifo`]);
    const [reading, writing] = await Promise.all([open(`${folder}/fifo`, 'r'), open(`${folder}/fifo`, 'w')]);
    const [reader, writer] = [await passed(reading), await passed(writing)].map((fd) => fd.toSocket());
    assert.deepEqual([reader!.readable, reader!.writable], [true, false]);
    assert.deepEqual([writer!.readable, writer!.writable], [false, true]);
    writer!.end('through');
    assert.equal((await reader!.toArray()).join(''), 'through');
  });
});

test('a file that is received is read and written by streams', async () => {
  const writer = await passed(anonymousFile());
  const reader = writer.dup();
  await once(writer.createWriteStream().end('written'), 'close');
  assert.equal((await reader.createReadStream({ start: 0 }).toArray()).join(''), 'written');
});

test('no sent object keeps its process alive', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const passer = new FdPasser();
  const child = startChild('descriptor/send-all', { peer: passer.peer, args: [String(port)] });
  passer.iAmParent();
  const end = ended(child);
  const [connected] = (await once(server, 'connection')) as [Socket];
  const kinds: string[] = [];
  for (let i = 0; i < 5; i++) {
    using fd = await passer.receive();
    kinds.push(fd.listening ? 'server' : fd.kind);
  }
  assert.deepEqual(kinds, ['tcp', 'server', 'udp', 'file', 'character-device']);
  const { code, signal, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  connected.destroy();
  server.close();
  await passer.close();
});
