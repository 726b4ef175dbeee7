/**
 * Makes Node's own objects of descriptors: each owns the number that it is given, unless it throws.
 */
import type { RemoteInfo, Socket as DatagramSocket } from 'node:dgram';
import {
  createReadStream,
  createWriteStream,
  fsync,
  open,
  read,
  readFileSync,
  readlinkSync,
  write,
  writev,
} from 'node:fs';
import type { Server, Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { ReadStream as TtyReadStream, WriteStream as TtyWriteStream } from 'node:tty';
import { invalidType, invalidValue, type Names } from '../common/arguments.js';
import { checked, closed, systemError, wrongKind } from '../errors.js';
import { READ, WRITE } from '../native/addon.js';
import { builtin } from '../common/lazy-modules.js';
import { addon } from '../native/load.js';
import { refuseIn, runtime } from '../native/runtime.js';
import { isClosedServer, noteConnected, noteUnread, openHandle } from './node-internals.js';
import type { Kind } from '../native/kinds.js';
import { readTerminal, writeTerminal } from './terminal.js';

export interface SocketOptions {
  /** Go on writing after the peer has ended. Default false, as in Node. */
  allowHalfOpen?: boolean;
  highWaterMark?: number;
}

export interface ConnectionOptions {
  /** An HTTP connection between two requests: `closeIdleConnections` and `keepAliveTimeout` end it. Default false. */
  idle?: boolean;
}

export const CONNECTION: Names<ConnectionOptions> = { idle: true };

export interface ReadStreamOptions {
  /** First and last byte to read. Without `start` it reads from, and moves, the position that all holders share. */
  start?: number;
  end?: number;
  encoding?: BufferEncoding;
  highWaterMark?: number;
}

export interface WriteStreamOptions {
  /** The first byte to write. Without it, writing begins at, and moves, the position that all holders share. */
  start?: number;
  highWaterMark?: number;
}

/** What is known of a descriptor. */
export interface Nature {
  readonly fd: number;
  readonly kind: Kind;
  readonly listening: boolean;
  readonly unread: Buffer | undefined;
}

/** Closes the number of a stream, and returns 0 or a negative errno. */
export type Close = (fd: number) => number;

export function socketOf({ fd, kind, listening, unread }: Nature, options: SocketOptions = {}): Socket {
  // What else net.Socket takes for a pipe or connection fails at the first use, not here.
  const access = checked(addon.access(fd), 'fcntl');
  if (!CONNECTIONS.has(kind) || listening || access === 0)
    throw wrongKind('toSocket', 'a connection (tcp, unix-stream) or fifo', described(fd, kind, listening));
  const behind = kind === 'fifo' ? fileSystemOf(fd) : undefined;
  if (behind !== undefined && !ANSWERS.has(behind))
    throw wrongKind('toSocket', 'a fifo that no server stands behind', `one in a file system of type ${behind}`);
  refuseIn(['bun'], 'toSocket()', 'The descriptor is still yours: use an FdStream for a unix-stream');
  const socket = new builtin.net.Socket({
    ...options,
    fd,
    readable: (access & READ) !== 0,
    writable: (access & WRITE) !== 0,
  });
  beginWith(socket, unread);
  return socket;
}

/** Puts what was read elsewhere before what is read here. */
export function beginWith(socket: Socket, unread: Buffer | undefined): void {
  if (unread === undefined) return;
  noteUnread(socket);
  socket.unshift(unread);
}

/** The handle of a connection that `acceptHandle` gives to this server. */
export function connectionOf({ fd, kind, listening }: Nature, server: Server): ReturnType<typeof openHandle> {
  if (!(server instanceof builtin.net.Server))
    throw invalidType('server', 'a server of net, http, https or http2', server);
  if ((kind !== 'tcp' && kind !== 'unix-stream') || listening)
    throw wrongKind('toConnection', 'a connection (tcp, unix-stream)', described(fd, kind, listening));
  refuseIn(
    ['bun', 'deno'],
    'toConnection()',
    "The descriptor is still yours: a server's emit('connection') takes a socket",
  );
  if (isClosedServer(server)) throw closed('server', 'it takes no connection. The descriptor is still yours');
  return openHandle(fd);
}

export function serverOf({ fd, kind, listening }: Nature, listener?: (socket: Socket) => void): Server {
  if ((kind !== 'tcp' && kind !== 'unix-stream') || !listening)
    throw wrongKind('toServer', 'a listening socket (tcp, unix-stream)', described(fd, kind, listening));
  refuseIn(['deno'], 'toServer()', STILL_YOURS);
  const server = new builtin.net.Server(listener);
  // In a cluster's worker, too, it is this process that listens.
  server.listen({ fd, exclusive: true });
  if (server.listening) return server;
  server.once('error', () => {}); // says later what is thrown now
  throw wrongKind('toServer', 'a socket that nothing else in this process watches', 'watched');
}

export function datagramsOf(
  { fd, kind }: Nature,
  listener?: (message: Buffer, from: RemoteInfo) => void,
): DatagramSocket {
  if (kind !== 'udp') throw wrongKind('toDgram', 'a udp socket', described(fd, kind));
  if (fd === 0) throw wrongKind('toDgram', 'a number above 0, since dgram binds no other', '0');
  refuseIn(['deno'], 'toDgram()', STILL_YOURS);
  const type = checked(addon.ipv6(fd), 'getsockopt') === 1 ? 'udp6' : 'udp4';
  const socket = builtin.dgram.createSocket(type, listener).bind({ fd, exclusive: true });
  noteConnected(socket);
  return socket;
}

export function readStreamOf({ fd, kind }: Nature, options: ReadStreamOptions = {}, close?: Close): Readable {
  if (!FILES.has(kind) || !allows(fd, READ))
    throw wrongKind('createReadStream', 'a file or device open for reading', described(fd, kind));
  refuseIn(['deno'], 'createReadStream()', OPEN_AGAIN);
  if (!isTerminal(kind)) return createReadStream('', { ...options, fd, autoClose: true, ...closedBy(close) });
  const { start, end, ...rest } = options;
  refusePosition('start', start);
  refusePosition('end', end);
  return readTerminal(fd, rest);
}

export function writeStreamOf({ fd, kind }: Nature, options: WriteStreamOptions = {}, close?: Close): Writable {
  if (!FILES.has(kind) || !allows(fd, WRITE))
    throw wrongKind('createWriteStream', 'a file or device open for writing', described(fd, kind));
  refuseIn(['deno'], 'createWriteStream()', OPEN_AGAIN);
  if (!isTerminal(kind)) return createWriteStream('', { ...options, fd, autoClose: true, ...closedBy(close) });
  refusePosition('start', options.start);
  return writeTerminal(fd);
}

export function ttyOf({ fd, kind }: Nature): TtyReadStream | TtyWriteStream {
  const access = checked(addon.access(fd), 'fcntl');
  if (kind !== 'tty' || access === 0) throw wrongKind('toTty', 'a terminal', described(fd, kind));
  refuseIn(['bun', 'deno'], 'toTty()', STILL_YOURS);
  return (access & READ) !== 0 ? readTerminal(fd, {}) : writeTerminal(fd);
}

/**
 * One of which the runtime makes a stream that is not a file's: a read that waits would hold one of the few threads for
 * those.
 */
export function isTerminal(kind: Kind): boolean {
  return kind === 'tty' && runtime === 'node';
}

function refusePosition(name: string, value: unknown): void {
  if (value !== undefined)
    throw invalidValue(`options.${name}`, 'left out for a terminal, which has no positions', value);
}

/** Options with which a stream closes its number like that. */
function closedBy(close: Close | undefined): object {
  if (close === undefined) return {};
  const closeWith = (fd: number, closed: (error: Error | null) => void): void => {
    const result = close(fd);
    process.nextTick(closed, result < 0 ? systemError(result, 'close') : null);
  };
  return { fs: { open, read, write, writev, fsync, close: closeWith } };
}

const STILL_YOURS = 'The descriptor is still yours, to be passed on';
const OPEN_AGAIN = 'The descriptor is still yours: open /dev/fd/ and its number, since node:fs takes no other there';

/** File systems that answer by themselves: Node asks for a fifo's attributes, and a server may never give them. */
const ANSWERS = new Set([
  'btrfs',
  'devtmpfs',
  'ext2',
  'ext3',
  'ext4',
  'f2fs',
  'overlay',
  'ramfs',
  'tmpfs',
  'xfs',
  'zfs',
]);

/**
 * The type of the file system that a fifo has a name in; `undefined` for a pipe, and where nothing tells. It is not
 * asked.
 */
function fileSystemOf(fd: number): string | undefined {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:')) return undefined;
    const mount = /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!;
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8'); // proc_pid_mountinfo(5)
    return new RegExp(`^${mount} .* - (\\S+)`, 'm').exec(mounts)?.[1] ?? "which is another process's own";
  } catch {
    return undefined; // no Linux, or the permission model hides it
  }
}

const CONNECTIONS = new Set<Kind>(['tcp', 'unix-stream', 'fifo']);
// Not a fifo: a read that waits for it would hold one of the few threads for files. toSocket() is for those.
const FILES = new Set<Kind>(['file', 'tty', 'character-device', 'block-device']);

function allows(fd: number, direction: number): boolean {
  return (checked(addon.access(fd), 'fcntl') & direction) !== 0;
}

function described(fd: number, kind: Kind, listening = false): string {
  const open = ['with O_PATH, for its place alone', 'for reading', 'for writing', 'for both'];
  return `${listening ? 'a listening ' : ''}${kind}, open ${open[checked(addon.access(fd), 'fcntl')]}`;
}
