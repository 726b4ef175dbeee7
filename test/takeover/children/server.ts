import dgram from 'node:dgram';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeover } from 'fdpasser/takeover';
import { actAt } from './act-at.js';
import { cert, key } from '../../support/certificate.js';
import type { ServerCommand, ServerConfig, ServerReport } from '../../support/takeover.js';
import { WebSocketServer, type WebSocket } from '../../support/ws.js';

/** A server that takes over, or is the first. It tells its parent what happens, and ends by itself. */
const config = JSON.parse(process.argv[2]!) as ServerConfig;
const servers: (net.Server | dgram.Socket)[] = [];
const closeServers = (): void =>
  servers.forEach((server) => {
    if (config.removes) server.removeAllListeners('close');
    server.close();
  });
if (config.closesAt !== undefined) actAt(config.closesAt, closeServers);
if (config.at !== undefined) actAt(config.at.step, () => process.kill(process.pid, config.at!.signal));

function report(value: ServerReport): void {
  process.send?.(value);
}

/** Answers with the pid. */
function serve(request: http.IncomingMessage, response: http.ServerResponse): void {
  const wait = Number(new URL(request.url!, 'http://x').searchParams.get('wait') ?? 0);
  setTimeout(() => response.end(`${process.pid}`), wait);
}

function serverOf(kind: string): net.Server | dgram.Socket {
  switch (kind) {
    case 'http':
      return http.createServer({ keepAliveTimeout: 60_000 }, serve);
    case 'https':
      return https.createServer({ key, cert }, serve);
    case 'http2':
      return http2.createServer();
    case 'net':
      return net.createServer((socket) => {
        socket.on('error', () => {});
        socket.on('data', (bytes) => socket.write(`${process.pid} ${bytes.toString()}`));
      });
    case 'udp': {
      const socket = dgram.createSocket('udp4');
      socket.on('message', (bytes, from) => socket.send(`${process.pid} ${bytes.toString()}`, from.port, from.address));
      return socket;
    }
    case 'websocket': {
      const server = http.createServer(serve);
      new WebSocketServer({ server }).on('connection', echo);
      return server;
    }
    case 'mixed':
      return mixed();
    case 'removing':
      return removing();
    case 'counter':
      return net.createServer((socket) => count(socket, { count: 0, big: '' }));
    default:
      throw new Error(kind);
  }
}

function echo(webSocket: WebSocket): void {
  webSocket.on('message', (data, binary) =>
    webSocket.send(Buffer.concat([Buffer.from(`${process.pid}:`), data]), { binary }),
  );
}

/** Answer requests for "/held". That is done by a command. */
const held: (() => void)[] = [];

function hold(answer: () => void): void {
  held.push(answer);
  report({ event: 'holds' });
}

/** A server of HTTP, and of connections that are upgraded to an echo. It removes the listeners of others. */
function removing(): http.Server {
  const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    if (request.url !== '/held') return serve(request, response);
    hold(() => {
      request.removeAllListeners('close');
      response.removeAllListeners('close');
      response.end(`${process.pid}`);
    });
  });
  const own = server.listeners('connection') as ((socket: net.Socket) => void)[];
  server.on('listening', () => {
    server.removeAllListeners('connection');
    for (const listener of own) server.on('connection', listener);
  });
  return server.on('upgrade', (_, socket) => {
    socket.removeAllListeners();
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.pipe(socket);
  });
}

/** A server of HTTP, of WebSockets, and of connections that are upgraded to the protocol that counts lines. */
function mixed(): http.Server {
  const webSockets = new WebSocketServer({ noServer: true });
  const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    if (request.url === '/held') hold(() => response.end(`${process.pid}`));
    else serve(request, response);
  });
  return server.on('upgrade', (request, socket, head) => {
    if (request.headers.upgrade === 'websocket') return webSockets.handleUpgrade(request, socket, head, echo);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: counter\r\n\r\n');
    count(socket as net.Socket, { count: 0, big: '' });
  });
}

/** The state of a connection that counts its lines: `big` is too large to be sent in one message. */
type Counted = { count: number; big: string };

const counted = new WeakMap<net.Socket, Counted>();

function count(socket: net.Socket, state: Counted): void {
  counted.set(socket, state);
  socket.on('error', () => {});
  socket.on('end', () => socket.end()); // an HTTP server leaves that to its program
  socket.on('data', (bytes) => {
    if (bytes.toString() === 'big') state.big = 'b'.repeat(2 << 20);
    socket.write(`${process.pid} ${++state.count}`);
  });
}

const carrier = {
  save: (socket: net.Socket) => (config.savesNothing ? undefined : { ...counted.get(socket)! }),
  restore(state: Counted, socket: net.Socket) {
    if (config.restoresNothing) throw new Error('it restores nothing');
    count(socket, state);
  },
};

const { allow } = config;
const allowed = allow && { allow: ({ uid }: { uid: number }) => allow === 'all' || uid === process.geteuid!() };

try {
  const serving = await takeover(config.control, { ...config.options, ...allowed });
  serving.on('serving', () => report({ event: 'serving' }));
  serving.on('handover', ({ pid }) => report({ event: 'handover', pid }));
  serving.on('rollback', (error) => report({ event: 'rollback', message: error.message, code: codeOf(error) }));
  serving.on('rolledback', (error) => {
    report({ event: 'rolledback', message: error.message, code: codeOf(error) });
    process.exitCode = 1;
  });
  serving.on('drained', () => report({ event: 'drained' }));
  if (config.throws) {
    process.on('uncaughtException', ({ message }) => report({ event: 'uncaught', message }));
    for (const event of ['serving', 'handover', 'rollback', 'rolledback', 'drained'] as const)
      serving.on(event, () => {
        throw new Error(event);
      });
  }
  for (const { name, kind, options } of config.listeners) {
    const server = serverOf(kind);
    servers.push(server);
    if (config.throws)
      server.on('listening', () => {
        throw new Error('listening');
      });
    if (config.maxConnections !== undefined) Object.assign(server, { maxConnections: config.maxConnections });
    serving.listen(name, server, options);
    if (kind === 'counter' || kind === 'mixed') serving.carry(name, carrier);
  }
  process.on('message', (command: ServerCommand) => {
    const settle = (promise: Promise<{ pid: number } | void>): void =>
      void promise.then(
        (successor) => report({ event: 'done', pid: successor?.pid }),
        (error: Error) => report({ event: 'failed', code: codeOf(error), message: error.message }),
      );
    if (command === 'confirm') settle(serving.confirm());
    if (command === 'abort') settle(serving.abort());
    if (command === 'upgrade') settle(serving.upgrade());
    if (command === 'upgrade to nothing') settle(serving.upgrade({ args: ['--eval', 'process.exit(3)'] }));
    if (command === 'state') report({ event: 'state', message: serving.state });
    if (command === 'answer') held.forEach((answer) => answer());
    if (command === 'exit') process.exit(7);
    if (command === 'close') closeServers();
  });
  process.channel?.unref();
  report({ event: 'met', ...(serving.predecessor && { pid: serving.predecessor.pid }) });
  if (config.never) await sleep(3_600_000);
  if (config.breaks) throw Object.assign(new Error('this version is broken'), { code: 'ERR_BROKEN' });
  await serving.ready();
} catch (error) {
  const { step, pid } = error as { step?: string; pid?: number };
  report({ event: 'failed', code: codeOf(error as Error), message: (error as Error).message, step, pid });
  process.channel?.unref();
  process.exitCode = 1;
  if (config.breaks) process.exit(1);
}

function codeOf(error: Error): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
