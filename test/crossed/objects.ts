import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, createReadStream, createWriteStream, fstatSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { Agent, createServer as createHttpServer, get } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OwnedFd, listen, socketpair, type FdLike } from 'fdpasser';
import { anonymousFile, identity } from '../support/descriptors.js';

/** Something that can stand for a descriptor, and what the test needs to check and end it. */
export interface Made {
  value: FdLike;
  /** Device and inode of the descriptor. Read before it is sent. */
  id: string;
  /** Ends it here, whatever happened to it. A second call must do no harm. */
  end(): void;
  /** Ends what was made with it, such as the client of a connection. */
  rest?(): void;
  /** A fault of the library that no row may show, such as an event that a sent object must not emit. */
  fault?(): string | undefined;
}

export interface Kind {
  name: string;
  make(folder: string): Promise<Made> | Made;
  /** Every wire refuses it with these codes; it is then as it was. */
  refused?: string[];
  /** Wires that carry no unread bytes refuse it. */
  unread?: true;
  /** It may only be lent. */
  lentOnly?: true;
  /** It has no number yet, and is lent as it is. */
  opening?: true;
  /** Its former owner can no longer end it. */
  bare?: true;
}

/** A number that is closed here unless it was before. */
function number(fd: number): Made {
  const id = identity(fd);
  const end = (): void => {
    // Its new owner has closed it, and the number may be in use again.
    if (isStill(fd, id)) closeSync(fd);
  };
  return { value: fd, id, end };
}

function isStill(fd: number, id: string): boolean {
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return `${dev}:${ino}` === id;
  } catch {
    return false;
  }
}

function owned(fd: OwnedFd, rest?: () => void): Made {
  return { value: fd, id: identity(fd.fd), end: () => fd.close(), ...(rest === undefined ? {} : { rest }) };
}

async function listening(server: Server, ...args: unknown[]): Promise<Server> {
  (server.listen as (...args: unknown[]) => Server).apply(server, args.length > 0 ? args : [0, '127.0.0.1']);
  await once(server, 'listening');
  return server;
}

/** Node's handle has the number. */
function numberOf(object: object): number {
  return (object as { _handle: { fd: number } })._handle.fd;
}

function server(made: Server): Made {
  return { value: made, id: identity(numberOf(made)), end: () => made.close() };
}

/** An accepted connection; what its client wrote is in the kernel. */
async function accepted(made: Server, target: object): Promise<[Socket, Socket]> {
  const client = connect(target as { port: number });
  const [[socket]] = (await Promise.all([once(made, 'connection'), once(client, 'connect')])) as [[Socket], unknown];
  client.on('error', () => {}).resume();
  socket.on('error', () => {});
  return [socket, client];
}

function connection(socket: Socket, client: Socket, also: () => void = () => {}): Made {
  const rest = (): void => {
    client.destroy();
    also();
  };
  return { value: socket, id: identity(numberOf(socket)), end: () => void socket.destroy(), rest };
}

async function tcp(prepare: (socket: Socket, client: Socket) => unknown = () => {}): Promise<Made> {
  const listener = await listening(createServer({ pauseOnConnect: true, allowHalfOpen: true }));
  const [socket, client] = await accepted(listener, listener.address() as AddressInfo);
  listener.close();
  await prepare(socket, client);
  return connection(socket, client);
}

/** A connection of a server for HTTP, between two requests. */
async function http(): Promise<Made> {
  const agent = new Agent({ keepAlive: true });
  const made = createHttpServer((_, response) => response.end('answer'));
  await listening(made);
  const [[socket], [response]] = (await Promise.all([
    once(made, 'connection'),
    once(get({ port: (made.address() as AddressInfo).port, host: '127.0.0.1', agent }), 'response'),
  ])) as [[Socket], [NodeJS.ReadableStream]];
  await once(response.resume(), 'end');
  const rest = (): void => {
    agent.destroy();
    made.close();
    made.closeAllConnections();
  };
  return { value: socket, id: identity(numberOf(socket)), end: () => void socket.destroy(), rest };
}

/** A free connection of an agent. */
async function agents(): Promise<Made> {
  const agent = new Agent({ keepAlive: true });
  const made = createHttpServer((_, response) => response.end('answer'));
  await listening(made);
  const [response] = (await once(
    get({ port: (made.address() as AddressInfo).port, host: '127.0.0.1', agent }),
    'response',
  )) as [NodeJS.ReadableStream];
  await once(response.resume(), 'end');
  await new Promise((resolve) => setImmediate(resolve));
  const socket = Object.values(agent.freeSockets)[0]![0]!;
  const rest = (): void => {
    made.close();
    made.closeAllConnections();
    agent.destroy();
  };
  return { value: socket, id: identity(numberOf(socket)), end: () => void socket.destroy(), rest };
}

async function datagrams(connectIt: boolean): Promise<Made> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  if (connectIt) {
    socket.connect(9, '127.0.0.1');
    await once(socket, 'connect');
  }
  socket.on('error', () => {});
  const id = identity(
    (socket as unknown as { [symbol: symbol]: { handle: { fd: number } } })[stateOf(socket)]!.handle.fd,
  );
  let closed = false;
  socket.once('close', () => (closed = true));
  return { value: socket, id, end: () => void (closed || closeQuietly(socket)) };
}

function stateOf(socket: object): symbol {
  return Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === 'state symbol')!;
}

function closeQuietly(socket: { close(): unknown }): void {
  try {
    socket.close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SOCKET_DGRAM_NOT_RUNNING') throw error;
  }
}

export const KINDS: readonly Kind[] = [
  { name: 'a number', make: () => number(anonymousFile()), bare: true },
  {
    name: 'an object with fd',
    make() {
      const made = number(anonymousFile());
      return { ...made, value: { fd: made.value as number } };
    },
    bare: true,
  },
  { name: 'an OwnedFd of a file', make: () => owned(new OwnedFd(anonymousFile())) },
  { name: 'an OwnedFd of a folder', make: () => owned(new OwnedFd(openSync(tmpdir(), 'r'))) },
  { name: 'an OwnedFd of /dev/null', make: () => owned(new OwnedFd(openSync('/dev/null', 'r+'))) },
  { name: 'an OwnedFd of a terminal', make: () => owned(new OwnedFd(openSync('/dev/ptmx', 'r+'))) },
  {
    name: 'an OwnedFd of a Unix socket',
    make() {
      const [one, other] = socketpair();
      return owned(one, () => other.close());
    },
  },
  {
    name: 'an OwnedFd that is closed',
    make() {
      const fd = new OwnedFd(anonymousFile());
      const made = owned(fd);
      fd.close();
      return made;
    },
    refused: ['ERR_FDPASSER_NOT_OWNED'],
  },
  {
    name: 'a number that is not open',
    make: () => ({ value: 1_000_000, id: 'none', end() {} }),
    refused: ['EBADF'],
  },
  {
    name: 'what is no descriptor',
    make: () => ({ value: 'file' as never, id: 'none', end() {} }),
    refused: ['ERR_INVALID_ARG_TYPE'],
  },
  {
    name: 'a FileHandle',
    async make(folder) {
      const handle = await open(join(folder, 'handle'), 'w+');
      return { value: handle, id: identity(handle.fd), end: () => void handle.close().catch(() => {}) };
    },
  },
  {
    name: 'a ReadStream that is opening',
    make(folder) {
      const file = openSync(join(folder, 'read'), 'w');
      const id = identity(file);
      closeSync(file);
      const stream = createReadStream(join(folder, 'read'), { start: 0 }).on('error', () => {});
      return { value: stream, id, end: () => void stream.destroy() };
    },
    opening: true,
  },
  {
    name: 'a WriteStream with something to write',
    async make(folder) {
      const stream = createWriteStream(join(folder, 'written')).on('error', () => {});
      await once(stream, 'open');
      stream.write('text');
      return {
        value: stream,
        id: identity((stream as unknown as { fd: number }).fd),
        end: () => void stream.destroy(),
      };
    },
  },
  { name: 'a TCP connection', make: () => tcp() },
  {
    name: 'a TCP connection with something to write',
    make: () => tcp((socket) => socket.write(Buffer.alloc(100_000))),
  },
  {
    name: 'a TCP connection with unread bytes',
    make: () =>
      tcp(async (socket, client) => {
        client.write('unread');
        await once(
          socket.on('readable', () => {}),
          'readable',
        );
        socket.removeAllListeners('readable');
      }),
    unread: true,
  },
  {
    name: 'a Unix connection',
    async make(folder) {
      const made = await listening(createServer({ pauseOnConnect: true }), join(folder, 'socket'));
      const [socket, client] = await accepted(made, { path: join(folder, 'socket') });
      made.close();
      return connection(socket, client);
    },
  },
  { name: 'an HTTP connection between requests', make: http },
  { name: "an agent's free connection", make: agents },
  { name: 'a TCP server', make: async () => server(await listening(createServer())) },
  {
    name: 'a Unix server',
    make: async (folder) => server(await listening(createServer(), join(folder, 'server'))),
  },
  { name: 'a datagram socket', make: () => datagrams(false) },
  { name: 'a connected datagram socket', make: () => datagrams(true) },
  {
    name: 'an FdServer',
    make(folder) {
      const made = listen(join(folder, 'listener'));
      return { value: made, id: identity(made.fd), end: () => made.close() };
    },
    lentOnly: true,
  },
];
