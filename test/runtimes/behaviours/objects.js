// The runtime's own objects are sent, and made of received descriptors, or a clear error says that this is not
// possible.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, createReadStream, openSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { OwnedFd, listen, socketpair } from 'fdpasser';
import { newFile, passers, pathFor, runtime } from './support.js';

/** What each runtime lacks: the table in docs/runtimes.md. */
const LACKS = {
  node: [],
  bun: ['send net.Socket', 'toSocket', 'toConnection', 'toTty'],
  deno: [
    'send net.Socket',
    'send net.Server',
    'send dgram.Socket',
    'toConnection',
    'toServer',
    'toDgram',
    'toTty',
    'createReadStream',
    'createWriteStream',
  ],
}[runtime];

const [a, b] = passers();

async function through(fh, options) {
  await a.send(fh, options);
  return b.receive();
}

async function tcp(kind) {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  if (kind === 'server') return [server];
  const client = connect(server.address().port, '127.0.0.1');
  client.on('error', () => {});
  const [socket] = await once(server, 'connection');
  return [server, client, socket];
}

const cases = {
  async 'send net.Socket'() {
    const [server, client, socket] = await tcp();
    try {
      const fd = await through(socket);
      assert.equal(fd.kind, 'tcp');
      fd.close();
    } finally {
      socket.destroy();
      client.destroy();
      server.close();
    }
  },
  async 'send net.Server'() {
    const [server] = await tcp('server');
    try {
      const fd = await through(server, { keepOpen: true });
      assert.ok(fd.listening);
      fd.close();
    } finally {
      server.close();
    }
  },
  async 'send dgram.Socket'() {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    try {
      const fd = await through(socket, { keepOpen: true });
      assert.equal(fd.kind, 'udp');
      fd.close();
    } finally {
      socket.close();
    }
  },
  async 'send FileHandle'() {
    const fd = await through(await open(import.meta.filename));
    assert.equal(fd.kind, 'file');
    fd.close();
  },
  async 'send ReadStream'() {
    const stream = createReadStream(import.meta.filename, { start: 0 });
    await once(stream, 'open');
    const fd = await through(stream);
    assert.equal(fd.kind, 'file');
    fd.close();
  },
  async toSocket() {
    const [one, other] = socketpair();
    try {
      const [x, y] = [one.toSocket(), other.toSocket()];
      x.write('hello');
      const [data] = await once(y, 'data');
      assert.equal(data.toString(), 'hello');
      x.destroy();
      y.destroy();
    } finally {
      one.close();
      other.close();
    }
  },
  async toConnection() {
    const [one, other] = socketpair();
    try {
      const server = createServer();
      const counted = new Promise((resolve) => {
        server.once('connection', () => server.getConnections((_, connections) => resolve(connections)));
      });
      const socket = one.toConnection(server);
      assert.equal(await counted, 1);
      socket.destroy();
    } finally {
      one.close();
      other.close();
    }
  },
  async toServer() {
    const path = pathFor('server');
    const listener = listen(path);
    const fd = await through(listener, { keepOpen: true });
    try {
      const server = fd.toServer((socket) => socket.end('bye'));
      const client = connect(path);
      const [data] = await once(client, 'data');
      assert.equal(data.toString(), 'bye');
      client.destroy();
      server.close();
    } finally {
      fd.close();
      listener.close();
    }
  },
  async toDgram() {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const number = udpNumber();
    const fd = await through(number, { keepOpen: true });
    try {
      const { port } = socket.address();
      const made = fd.toDgram();
      const client = createSocket('udp4');
      const arrived = once(made, 'message');
      client.send('hello', port, '127.0.0.1');
      socket.close();
      assert.equal((await arrived)[0].toString(), 'hello');
      made.close();
      client.close();
    } catch (error) {
      socket.close();
      throw error;
    } finally {
      fd.close();
    }
  },
  async toTty() {
    const fd = await through(openSync('/dev/ptmx', 'r+'));
    try {
      fd.toTty().destroy();
    } finally {
      fd.close();
    }
  },
  async createReadStream() {
    const fd = await through(openSync(import.meta.filename, 'r'));
    try {
      const [chunk] = await once(fd.createReadStream(), 'data');
      assert.ok(chunk.length > 100);
    } finally {
      fd.close();
    }
  },
  async createWriteStream() {
    const fd = await through(newFile());
    const path = `/dev/fd/${fd.fd}`;
    const reader = openSync(path, 'r');
    try {
      const stream = fd.createWriteStream();
      stream.end('written');
      await once(stream, 'close');
      assert.equal(readFileSync(reader, 'utf8'), 'written');
    } finally {
      closeSync(reader);
      fd.close();
    }
  },
  // The way that docs/runtimes.md names when fs takes no received number.
  async 'reading /dev/fd'() {
    const fd = await through(newFile('text'));
    assert.equal(readFileSync(`/dev/fd/${fd.fd}`, 'utf8'), 'text');
    fd.close();
  },
};

function udpNumber() {
  for (let fd = 3; fd < 200; fd++) {
    let owned;
    try {
      owned = new OwnedFd(fd);
    } catch {
      continue; // not open, or owned
    }
    const { kind } = owned;
    owned.take();
    if (kind === 'udp') return fd;
  }
  throw new Error('no udp socket is open');
}

for (const [name, run] of Object.entries(cases)) {
  if (LACKS.includes(name)) await assert.rejects(run(), { code: 'ERR_FDPASSER_RUNTIME' }, name);
  else await run().catch((error) => Promise.reject(new Error(name, { cause: error })));
}
a.destroy();
b.destroy();
const count = Object.keys(cases).length;
console.log(`${count - LACKS.length} of ${count} work, the others say ERR_FDPASSER_RUNTIME`);
