import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once, type EventEmitter } from 'node:events';
import { createReadStream, createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { Agent, createServer as createHttpServer, get, request, type IncomingMessage, type Server } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { FdPasser, socketpair, type FdLike, type OwnedFd } from 'fdpasser';
import { channelAndPeer, channels } from '../support/channels.js';
import { connection, reads } from '../support/connection.js';
import { inFolder, until } from '../support/descriptors.js';
import { passed } from '../support/passing.js';
import { test } from '../support/test.js';

const BUSY = { code: 'ERR_FDPASSER_HTTP_BUSY' };
const NOT_OWNED = { code: 'ERR_FDPASSER_NOT_OWNED' };

/** An object that has departed and waits for the peer to take it. */
interface Departed {
  sent: Promise<void>;
  /** The peer takes it. */
  arrive(): Promise<OwnedFd>;
  /** The peer ends without taking it. */
  comeBack(): Promise<void>;
}

async function departed(fh: FdLike): Promise<Departed> {
  const [near, far] = channels();
  const sent = near.send('yours', [fh], { confirm: true });
  await near.send('the kernel has what stands before this');
  const end = (): Promise<void[]> => Promise.all([near, far].map((channel) => channel.close()));
  return {
    sent,
    arrive: async () => {
      const { fds } = await far.receive();
      await sent;
      await end();
      return fds[0]!;
    },
    comeBack: async () => {
      far.destroy();
      await assert.rejects(sent, { code: 'ERR_FDPASSER_CLOSED' });
      await end();
    },
  };
}

/** A send that waits for ever, and how it ends. */
function queued(fh: FdLike): { abort(): Promise<void> } {
  const abort = new AbortController();
  const passer = new FdPasser();
  const sending = passer.send(fh, { signal: abort.signal });
  return {
    abort: async () => {
      abort.abort();
      await assert.rejects(sending, { name: 'AbortError' });
      await passer.close();
    },
  };
}

async function withServer(server: Server, body: (port: number) => Promise<void>): Promise<void> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    await body((server.address() as { port: number }).port);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** A connection of an HTTP server over which nothing was sent yet: the server's socket and the client's. */
async function served(server: Server, port: number): Promise<[accepted: Socket, client: Socket]> {
  const client = connect(port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  return [accepted, client];
}

// ---- an agent's connections

async function withAgent(
  body: (agent: Agent, ask: () => Promise<[answer: string, socket: Socket]>) => Promise<void>,
): Promise<void> {
  let connections = 0;
  const server = createHttpServer((_, response) =>
    response.end(String((response.socket as Socket & { id?: number }).id)),
  );
  server.on('connection', (socket: Socket & { id?: number }) => (socket.id = ++connections));
  await withServer(server, async (port) => {
    const agent = new Agent({ keepAlive: true });
    await body(agent, async () => {
      const [response] = (await once(get({ port, host: '127.0.0.1', agent }), 'response')) as [IncomingMessage];
      const { socket } = response;
      const free = once(agent, 'free');
      const answer = await text(response);
      await free;
      return [answer, socket];
    });
    agent.destroy();
  });
}

test("an agent's free connection that waits to be sent gets no request, and is in the pool again if it was not sent", async () => {
  await withAgent(async (agent, ask) => {
    const [first, socket] = await ask();
    const waiting = queued(socket);
    assert.deepEqual(Object.keys(agent.freeSockets), []);
    assert.equal(first, '1');
    const [second, other] = await ask();
    assert.equal(second, '2');
    other.destroy();
    await once(other, 'close');
    await waiting.abort();
    const [third, same] = await ask();
    assert.deepEqual([third, same], ['1', socket]);
  });
});

test("an agent's connection is refused while a request has it, even before the request is sent, until it is free", async () => {
  await withAgent(async (agent, ask) => {
    const [, socket] = await ask();
    const passer = new FdPasser();
    const { port } = socket.address() as { port: number };
    assert.ok(port > 0);
    const asked = request({ port: socket.remotePort, host: '127.0.0.1', agent });
    await assert.rejects(passer.send(socket), BUSY);
    const [response] = (await once(asked.end(), 'response')) as [IncomingMessage];
    await assert.rejects(passer.send(socket), BUSY);
    const free = once(agent, 'free');
    await once(response.resume(), 'end');
    await free;
    (await passed(socket)).close();
    assert.deepEqual([agent.sockets, agent.freeSockets].flatMap(Object.keys), []);
    await passer.close();
  });
});

test('a request that waits for a connection of its agent gets the one that comes back', async () => {
  await withAgent(async (agent, ask) => {
    const [, socket] = await ask();
    agent.maxTotalSockets = 1;
    const waiting = queued(socket);
    const answer = ask();
    await waiting.abort();
    assert.deepEqual(await answer, ['1', socket]);
  });
});

// ---- HTTP/2, upgrades and tunnels

test('an HTTP/2 connection is refused at both ends', async () => {
  const server = createHttp2Server((_, response) => response.end('whole')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const passer = new FdPasser();
  const raw = connect((server.address() as { port: number }).port, '127.0.0.1');
  const accepting = once(server, 'connection') as Promise<[Socket]>;
  const client = connectHttp2('http://localhost', { createConnection: () => raw });
  const [accepted] = await accepting;
  await once(client, 'connect');
  for (const socket of [raw, accepted]) await assert.rejects(passer.send(socket), BUSY);
  assert.equal(await text(client.request({ ':path': '/' })), 'whole');
  for (const socket of [raw, accepted]) await assert.rejects(passer.send(socket), BUSY);
  client.close();
  await once(client, 'close');
  server.close();
  await passer.close();
});

for (const [event, method, path, answer] of [
  ['upgrade', 'GET', '/', 'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: it\r\n\r\n'],
  ['connect', 'CONNECT', 'host:1', 'HTTP/1.1 200 OK\r\n\r\n'],
] as const) {
  test(`a connection after '${event}' can be sent, at both ends`, async () => {
    const server = createHttpServer();
    await withServer(server, async (port) => {
      const accepting = once(server, event) as Promise<[IncomingMessage, Socket]>;
      const headers = event === 'upgrade' ? { connection: 'upgrade', upgrade: 'it' } : {};
      const agent = new Agent({ keepAlive: true });
      const asked = request({ port, host: '127.0.0.1', method, path, headers, agent }).end();
      const answered = once(asked, event) as Promise<[IncomingMessage, Socket]>;
      const [, accepted] = await accepting;
      accepted.write(answer);
      const [, ours] = await answered;
      const [there, here] = [(await passed(accepted)).toSocket(), (await passed(ours)).toSocket()];
      there.write('through');
      await reads(here, 'through');
      here.destroy();
      there.destroy();
    });
  });
}

// ---- what Node does by itself

/** A server that soon gives up clients that send nothing. */
function impatient(): Server {
  return createHttpServer({ connectionsCheckingInterval: 10, headersTimeout: 1, requestTimeout: 1 });
}

for (const back of [false, true]) {
  test(`a server does not send 408 for a request that does not come${back ? ' before the connection is back' : ''}`, async () => {
    const server = impatient();
    await withServer(server, async (port) => {
      const [accepted, client] = await served(server, port);
      const away = await departed(accepted);
      const [, witness] = await served(server, port);
      assert.match(await text(witness), /^HTTP\/1.1 408/);
      if (back) {
        assert.equal(client.bytesRead, 0);
        await away.comeBack();
        assert.match(await text(client), /^HTTP\/1.1 408/);
      } else {
        const socket = (await away.arrive()).toSocket();
        socket.end('answer');
        assert.equal(await text(client), 'answer');
      }
    });
  });

  test(`closing idle connections leaves a waiting one alone${back ? ' until it is back' : ' that is sent'}`, async () => {
    for (const close of ['closeIdleConnections', 'closeAllConnections'] as const) {
      const server = createHttpServer((_, response) => response.end('ok'));
      await withServer(server, async (port) => {
        const [accepted, client] = await served(server, port);
        client.write('GET / HTTP/1.1\r\nHost: here\r\n\r\n');
        await once(client, 'data');
        const away = await departed(accepted);
        server[close]();
        assert.equal(accepted.destroyed, false);
        if (back) {
          await away.comeBack();
          assert.equal(accepted.destroyed, true);
          await once(client.resume(), 'close');
        } else {
          const socket = (await away.arrive()).toSocket();
          socket.end('answer');
          assert.equal(await text(client), 'answer');
        }
      });
    }
  });
}

test('the timeout of a connection stops while it waits, and starts again when it is back', async () => {
  const [client, accepted] = await connection();
  const [other, witness] = await connection();
  accepted.setTimeout(20, () => accepted.destroy());
  const waiting = queued(accepted);
  await once(witness.setTimeout(20), 'timeout');
  await sleep(20);
  assert.equal(accepted.destroyed, false);
  await waiting.abort();
  assert.equal(accepted.timeout, 20);
  await once(accepted, 'close');
  for (const socket of [client, other, witness]) socket.destroy();
});

test('a connection that waits reads nothing, even when it is paused and resumed', async () => {
  const server = createHttpServer((incoming, response) => response.end(incoming.url));
  await withServer(server, async (port) => {
    const [accepted, client] = await served(server, port);
    const waiting = queued(accepted);
    client.write('GET /asked HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n');
    accepted.pause().resume();
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(accepted.bytesRead, 0);
    await waiting.abort();
    assert.match(await text(client), /\/asked$/);
  });
});

// ---- calls on a connection that has departed

test('a write to a connection that has departed fails, and does not reach its peer', async () => {
  const [client, accepted] = await connection();
  const away = await departed(accepted);
  const outcomes: unknown[] = [];
  for (const bytes of ['one', 'two']) accepted.write(bytes, (error) => outcomes.push(error?.message));
  const failing = once(accepted, 'error') as Promise<[Error & { code: string }]>;
  const socket = (await away.arrive()).toSocket();
  const [error] = await failing;
  assert.equal(error.code, NOT_OWNED.code);
  await until(() => outcomes.length === 2);
  assert.deepEqual(outcomes, [error.message, error.message]);
  socket.end('there');
  assert.equal(await text(client), 'there');
});

test('bytes written to a connection while it was away go out when it is back, and so does its end', async () => {
  const [client, accepted] = await connection();
  const away = await departed(accepted);
  accepted.write('one, ');
  accepted.write('two, ');
  accepted.end('three');
  client.write('heard');
  for (let i = 0; i < 10; i++) await turn();
  assert.equal(client.bytesRead, 0);
  await away.comeBack();
  assert.equal(await text(client), 'one, two, three');
  await reads(accepted, 'heard');
  client.end();
  await once(accepted, 'close');
});

test('bytes written to a connection whose message is under way wait, and go out when the channel ends', async () => {
  const [channel, peer] = channelAndPeer();
  peer.hello();
  const [client, accepted] = await connection();
  const sending = channel.send('x'.repeat(8 << 20), [accepted]);
  await until(() => peer.receive().length > 0); // hello and the beginning of the message
  for (let i = 0; i < 10; i++) await turn();
  accepted.end('late');
  for (let i = 0; i < 10; i++) await turn();
  assert.equal(client.bytesRead, 0);
  channel.destroy();
  await assert.rejects(sending, { code: 'ERR_FDPASSER_CLOSED' });
  assert.equal(await text(client), 'late');
  client.destroy();
  accepted.destroy();
  peer.close();
});

for (const method of ['destroy', 'resetAndDestroy'] as const) {
  test(`${method}() of a connection that has departed does not touch the one that arrives`, async () => {
    const [client, accepted] = await connection();
    const away = await departed(accepted);
    accepted.write('lost', () => {});
    accepted[method]();
    const closing = once(accepted, 'close');
    const socket = (await away.arrive()).toSocket();
    await closing;
    socket.end('there');
    assert.equal(await text(client), 'there');
  });

  test(`${method}() of a connection that has departed is done when it is back`, async () => {
    const [client, accepted] = await connection();
    const away = await departed(accepted);
    const written = new Promise<Error | null | undefined>((resolve) => void accepted.write('lost', resolve));
    accepted[method]();
    const closing = once(accepted, 'close');
    const ended = new Promise((resolve) => client.on('error', () => {}).once('close', resolve));
    await away.comeBack();
    await closing;
    assert.ok((await written) instanceof Error);
    client.resume().end();
    await ended;
    assert.equal(client.errored?.message, method === 'destroy' ? undefined : 'read ECONNRESET');
  });
}

// ---- files

test('a ReadStream that waits reads nothing, and is sent or reads on', async () => {
  await inFolder(async (folder) => {
    writeFileSync(`${folder}/file`, 'contents');
    for (const wire of ['passer', 'channel']) {
      const stream = createReadStream(`${folder}/file`);
      const sending = wire === 'passer' ? passed(stream) : departed(stream).then((away) => away.arrive());
      let got = '';
      stream.setEncoding('utf8').on('data', (more) => (got += more.toString()));
      const fd = await sending;
      assert.equal(await text(fd.createReadStream()), 'contents');
      assert.equal(got, '');
    }
    const stream = createReadStream(`${folder}/file`);
    await once(stream, 'open');
    const away = await departed(stream);
    const whole = text(stream);
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(stream.bytesRead, 0);
    await away.comeBack();
    assert.equal(await whole, 'contents');
  });
});

test('a write to a WriteStream that has departed fails, or is done when the stream is back', async () => {
  await inFolder(async (folder) => {
    const stream = createWriteStream(`${folder}/sent`);
    const away = await departed(stream);
    const failing = once(stream, 'error') as Promise<[Error & { code: string }]>;
    const written = new Promise<Error | null | undefined>((resolve) => void stream.write('late', resolve));
    const fd = await away.arrive();
    assert.deepEqual([(await failing)[0].code, await written], [NOT_OWNED.code, (await failing)[0]]);
    await once(fd.createWriteStream().end('there'), 'close');
    assert.equal(readFileSync(`${folder}/sent`, 'utf8'), 'there');

    const kept = createWriteStream(`${folder}/kept`);
    const gone = await departed(kept);
    kept.end('late');
    await gone.comeBack();
    await once(kept, 'close');
    assert.equal(readFileSync(`${folder}/kept`, 'utf8'), 'late');
  });
});

test('a stream whose opening fails is refused, whatever its options and its listeners', async () => {
  const [near, far] = socketpair();
  const passer = new FdPasser({ fh: near });
  const path = '/nonexistent/file';
  for (const options of [{}, { emitClose: false }, { autoClose: false }])
    for (const make of [createReadStream, createWriteStream]) {
      const stream = make(path, options);
      const sending = passer.send(stream);
      stream.removeAllListeners();
      (stream as EventEmitter).on('error', () => {});
      await assert.rejects(sending, { code: 'ERR_FDPASSER_NOT_OPEN' });
    }
  for (const stream of [createReadStream('/dev/null', { emitClose: false }), createWriteStream('/dev/null')]) {
    const sending = passer.send(stream);
    stream.destroy();
    await assert.rejects(sending, { code: 'ERR_FDPASSER_NOT_OPEN' });
  }
  await passer.close();
  far.close();
});

test('a connection is sent though its listeners were removed while it waited', async () => {
  const [client, accepted] = await connection({ allowHalfOpen: true });
  accepted.end(Buffer.alloc(8 << 20));
  const sending = passed(accepted);
  accepted.removeAllListeners();
  const received = text(client);
  (await sending).close();
  assert.equal((await received).length, 8 << 20);
  client.destroy();
});

test('a WriteStream whose writing fails is refused with that error', async () => {
  const [near, far] = socketpair();
  const passer = new FdPasser({ fh: near });
  for (const autoClose of [true, false]) {
    const stream = createWriteStream('/dev/full', { autoClose });
    await once(stream, 'open');
    stream.on('error', () => {}).write('more than fits');
    await assert.rejects(passer.send(stream), { code: autoClose ? 'ERR_FDPASSER_NOT_OPEN' : 'ENOSPC' });
    stream.destroy();
  }
  await passer.close();
  far.close();
});

// ---- datagrams

test('a datagram whose host is being looked up is sent before its socket', async () => {
  const target = createSocket('udp4').bind(0, '127.0.0.1');
  await once(target, 'listening');
  const { port } = target.address();
  const got: string[] = [];
  target.on('message', (bytes) => got.push(bytes.toString()));
  const expected: string[] = [];
  for (const host of ['localhost', '127.0.0.1'])
    for (const when of ['before', 'after', 'both'])
      for (const wire of ['passer', 'channel']) {
        const socket = createSocket('udp4').bind(0, '127.0.0.1');
        await once(socket, 'listening');
        const outcomes: unknown[] = [];
        const send = (): void => {
          const name = `${host} ${when} ${wire} ${expected.length}`;
          expected.push(name);
          socket.send(name, port, host, (error) => outcomes.push(error));
        };
        const before = expected.length;
        if (when !== 'after') send();
        const sending = wire === 'passer' ? passed(socket) : departed(socket).then((away) => away.arrive());
        if (when !== 'before') send();
        (await sending).close();
        await until(() => outcomes.length === expected.length - before);
        assert.ok(outcomes.every((error) => error === null));
      }
  await until(() => got.length === expected.length);
  assert.deepEqual(got.toSorted(), expected.toSorted());
  target.close();
});

/** A look-up that resolves only the address that is bound, and never calls back for others. */
function lookup(host: string, _: unknown, callback: (error: null, address: string, family: number) => void): void {
  if (host === '0.0.0.0') process.nextTick(callback, null, host, 4);
}

test('a datagram socket that is closed while it waits for a look-up that does not come is refused', async () => {
  const [near, far] = socketpair();
  await using passer = new FdPasser({ fh: near });
  const bound = createSocket({ type: 'udp4', lookup }).bind();
  await once(bound, 'listening');
  const sending = passer.send(bound);
  bound.send('never', 1, 'nowhere');
  for (let i = 0; i < 10; i++) await turn();
  bound.close();
  await assert.rejects(sending, { code: 'ERR_FDPASSER_NOT_OPEN' });
  far.close();
});

test('a datagram socket that has departed receives nothing, and goes on when it is back', async () => {
  const [client, served] = [createSocket('udp4'), createSocket('udp4').bind(0, '127.0.0.1')];
  await once(served, 'listening');
  const here: string[] = [];
  served.on('message', (bytes) => here.push(bytes.toString()));
  const say = (what: string): void => client.send(what, served.address().port, '127.0.0.1');
  const away = await departed(served);
  say('first');
  for (let i = 0; i < 10; i++) await turn();
  assert.deepEqual(here, []);
  await away.comeBack();
  await until(() => here.length === 1);
  const gone = await departed(served);
  say('second');
  const socket = (await gone.arrive()).toDgram();
  const [message] = (await once(socket, 'message')) as [Buffer];
  assert.deepEqual([here, message.toString()], [['first'], 'second']);
  client.close();
  socket.close();
});

test('a datagram that is sent while its socket is away goes out before that is closed', async () => {
  const target = createSocket('udp4').bind(0, '127.0.0.1');
  await once(target, 'listening');
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const away = await departed(socket);
  const arrived = once(target, 'message');
  const fd = away.arrive();
  const called = new Promise((resolve) => socket.send('late', target.address().port, 'localhost', resolve));
  (await fd).close();
  assert.equal(String((await arrived)[0]), 'late');
  assert.equal(await called, null);
  target.close();
});
