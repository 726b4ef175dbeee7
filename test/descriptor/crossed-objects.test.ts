import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Agent, createServer as createHttpServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { FdChannel, FdPasser, FdStream, OwnedFd, socketpair, type FdLike } from 'fdpasser';
import { nodeObject, type NodeOwner } from '#dist/descriptor/node-object.js';
import { connection } from '../support/connection.js';
import { anonymousFile, identity, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** One of Node's own objects, and a function that ends everything else that was made for it. */
type Made = [object: OwnedFd | NodeOwner, end: () => void];

const OBJECTS: Record<string, () => Promise<Made>> = {
  async 'net.Socket'() {
    const [client, accepted] = await connection();
    return [accepted, () => client.destroy()];
  },
  async "a child's output"() {
    const child = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
    return [child.stdout as Socket, () => child.stdin.destroy()];
  },
  async "an http.Server's connection"() {
    const server = createHttpServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const agent = new Agent({ keepAlive: true });
    get({ port: (server.address() as { port: number }).port, host: '127.0.0.1', agent }, (answer) => answer.resume());
    const [{ socket }, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse];
    await Promise.all([once(response.end(), 'finish'), once(agent, 'free')]);
    return [socket, () => void (agent.destroy(), server.close())];
  },
  async "an http.Agent's connection"() {
    const server = createHttpServer((_, response) => response.end()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const agent = new Agent({ keepAlive: true });
    const asked = get({ port: (server.address() as { port: number }).port, host: '127.0.0.1', agent });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    const { socket } = response.resume();
    await once(agent, 'free');
    return [socket, () => server.close().closeAllConnections()];
  },
  async 'net.Server'() {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return [server, () => {}];
  },
  async 'dgram.Socket'() {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return [socket, () => {}];
  },
  async FileHandle() {
    return [await open('/dev/null'), () => {}];
  },
  async 'fs.ReadStream'() {
    const stream = createReadStream('/dev/zero');
    await once(stream, 'open');
    return [stream, () => {}];
  },
  async 'fs.WriteStream'() {
    const stream = createWriteStream('/dev/null');
    await once(stream, 'open');
    return [stream, () => {}];
  },
  async OwnedFd() {
    return [new OwnedFd(anonymousFile()), () => {}];
  },
};

/**
 * Sends, and returns the outcome: `'sent'`, or the error. A wire that closes what it cannot send must do so at once.
 */
interface Wire {
  returns: boolean;
  send(fh: FdLike): Promise<unknown>;
  receive(): Promise<OwnedFd>;
  /** Ends before the kernel, or the peer, has taken anything. */
  end(): void;
  close(): Promise<void>;
}

const outcome = (sending: Promise<unknown>): Promise<unknown> =>
  sending.then(() => 'sent').catch((error: unknown) => error);

function passerWire(push: boolean): Wire {
  const [near, far] = socketpair();
  const [from, to] = [new FdPasser({ fh: near }), new FdPasser({ fh: far })];
  return {
    returns: !push,
    send: (fh) =>
      push
        ? new Promise((resolve) => {
            from.pushSendFh(fh, () => resolve('sent'));
            from.once('close', () => resolve('closed'));
          })
        : outcome(from.send(fh)),
    receive: () => to.receive(),
    end: () => from.destroy(),
    close: async () => void (await Promise.all([from.close(), to.close()])),
  };
}

function streamWire(): Wire {
  const [near, far] = socketpair();
  const [from, to] = [new FdStream(near), new FdStream(far)];
  return {
    returns: false,
    send: (fh) =>
      new Promise((resolve) => {
        from.writeWithFds(Buffer.from('x'), [fh], {}, (error) => resolve(error ?? 'sent'));
      }),
    receive: async () => {
      to.resume();
      const [[fd]] = (await once(to, 'fds')) as [[OwnedFd]];
      return fd;
    },
    end: () => from.destroy(),
    close: async () => {
      for (const stream of [from, to]) stream.destroy();
      await until(() => from.closed && to.closed);
    },
  };
}

function channelWire(confirm: boolean): Wire {
  const [near, far] = socketpair();
  const [from, to] = [new FdChannel(near), new FdChannel(far)];
  return {
    returns: true,
    send: (fh) => outcome(from.send(null, [fh], { confirm })),
    receive: async () => (await to.receive()).fds[0]!,
    end: () => (confirm ? to : from).destroy(),
    close: async () => void (await Promise.all([from.close(), to.close()])),
  };
}

const WIRES: Record<string, () => Wire> = {
  'send()': () => passerWire(false),
  'pushSendFh()': () => passerWire(true),
  'writeWithFds()': streamWire,
  'a message': () => channelWire(false),
  'a message to be confirmed': () => channelWire(true),
};

const numberOf = (fh: Made[0]): number => (fh instanceof OwnedFd ? fh.fd : nodeObject(fh)!.fd);
const isClosed = (fh: Made[0]): boolean => numberOf(fh) < 0 || ('destroyed' in fh && fh.destroyed);

function close(fh: Made[0]): void {
  if ('destroy' in fh) fh.destroy();
  else void fh.close();
}

for (const [wireName, makeWire] of Object.entries(WIRES)) {
  test(`exactly one side has each of Node's objects, sent by ${wireName} or not`, async () => {
    for (const [name, make] of Object.entries(OBJECTS)) {
      for (const arrives of [true, false]) {
        const wire = makeWire();
        const [object, end] = await make();
        const file = identity(numberOf(object));
        const sending = wire.send(object);
        if (arrives) {
          const [how, received] = await Promise.all([sending, wire.receive()]);
          assert.equal(how, 'sent', name);
          assert.equal(identity(received.fd), file, name);
          await until(() => isClosed(object));
          received.close();
        } else {
          wire.end();
          assert.notEqual(await sending, 'sent', name);
          if (wire.returns) {
            assert.equal(identity(numberOf(object)), file, name);
            close(object);
          }
          await until(() => isClosed(object));
        }
        end();
        await wire.close();
      }
    }
  });
}
