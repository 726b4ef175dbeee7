/**
 * Makes Node's own objects of descriptors. Each object owns the number that it is given, unless the function throws.
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
import { checkOptions, invalidType, invalidValue, type Names } from '../common/arguments.js';
import { checked, closed, systemError, wrongKind } from '../errors.js';
import { READ, WRITE } from '../native/addon.js';
import { builtin } from '../common/lazy-modules.js';
import { addon } from '../native/load.js';
import { refuseIn, runtime } from '../native/runtime.js';
import { isClosedServer, noteConnected, noteUnread, openHandle } from './node-internals.js';
import type { Kind } from '../native/kinds.js';
import { readTerminal, writeTerminal } from './terminal.js';

export interface SocketOptions {
  /** Whether the socket can still be written to after the peer has ended. Default false, as in Node. */
  allowHalfOpen?: boolean | undefined;
  /** The bytes that may wait to be read or written, as in Node. */
  highWaterMark?: number | undefined;
}

const SOCKET: Names<SocketOptions> = { allowHalfOpen: true, highWaterMark: true };

export interface ConnectionOptions {
  /**
   * Whether it is an HTTP connection between two requests, which `closeIdleConnections` and `keepAliveTimeout` end.
   * Default false.
   */
  idle?: boolean | undefined;
}

export const CONNECTION: Names<ConnectionOptions> = { idle: true };

export interface ReadStreamOptions {
  /**
   * The first and last byte to read, counted from 0. Without `start` the stream reads from the position that all
   * holders share, and moves it.
   */
  start?: number | undefined;
  end?: number | undefined;
  /** Read text in this encoding. Default: read bytes. */
  encoding?: BufferEncoding | undefined;
  /** The bytes that may wait to be read, as in Node. */
  highWaterMark?: number | undefined;
}

export interface WriteStreamOptions {
  /**
   * The first byte to write, counted from 0. Without it the stream writes at the position that all holders share, and
   * moves it.
   */
  start?: number | undefined;
  /** The bytes that may wait to be written, as in Node. */
  highWaterMark?: number | undefined;
}

const READ_STREAM: Names<ReadStreamOptions> = { start: true, end: true, encoding: true, highWaterMark: true };
const WRITE_STREAM: Names<WriteStreamOptions> = { start: true, highWaterMark: true };

/** What is known about a descriptor. */
export interface Nature {
  readonly fd: number;
  readonly kind: Kind;
  readonly listening: boolean;
  readonly unread: Buffer | undefined;
}

/** Closes the number of a stream, and returns 0 or a negative errno. */
export type Close = (fd: number) => number;

export function socketOf({ fd, kind, listening, unread }: Nature, options: SocketOptions = {}): Socket {
  checkOptions(options, SOCKET);
  // net.Socket accepts other kinds too, as pipes or connections, and fails only when they are used.
  const access = checked(addon.access(fd), 'fcntl');
  if (!CONNECTIONS.has(kind) || listening || access === 0)
    throw wrongKind('toSocket', 'a connection (tcp, unix-stream) or fifo', described(fd, kind, listening));
  const behind = kind === 'fifo' ? fileSystemOf(fd) : undefined;
  if (behind !== undefined && !ANSWERS.has(behind))
    throw wrongKind('toSocket', 'a fifo without a server behind it', `one in a file system of type ${behind}`);
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

/** Puts the bytes that were read elsewhere before those that will be read here. */
export function beginWith(socket: Socket, unread: Buffer | undefined): void {
  if (unread === undefined) return;
  noteUnread(socket);
  socket.unshift(unread);
}

/** Makes the handle of a connection, which `acceptHandle` gives to this server. */
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
  return openHandle(fd, kind);
}

export function serverOf({ fd, kind, listening }: Nature, listener?: (socket: Socket) => void): Server {
  if ((kind !== 'tcp' && kind !== 'unix-stream') || !listening)
    throw wrongKind('toServer', 'a listening socket (tcp, unix-stream)', described(fd, kind, listening));
  refuseIn(['deno'], 'toServer()', STILL_YOURS);
  const server = new builtin.net.Server(listener);
  // With `exclusive`, this process itself listens even if it is a worker of a cluster.
  server.listen({ fd, exclusive: true });
  if (server.listening) return server;
  server.once('error', () => {}); // the error comes as an event later, but is thrown here
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
  checkOptions(options, READ_STREAM);
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
  checkOptions(options, WRITE_STREAM);
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
 * Whether the runtime makes a terminal's own stream of it. As a file it would occupy one of the few threads for files
 * while a read waits.
 */
export function isTerminal(kind: Kind): boolean {
  return kind === 'tty' && runtime === 'node';
}

function refusePosition(name: string, value: unknown): void {
  if (value !== undefined)
    throw invalidValue(`options.${name}`, 'left out for a terminal, which has no positions', value);
}

/** Options that make a stream close its number by `close`. */
function closedBy(close: Close | undefined): object {
  if (close === undefined) return {};
  const closeWith = (fd: number, closed: (error: Error | null) => void): void => {
    const result = close(fd);
    process.nextTick(closed, result < 0 ? systemError(result, 'close') : null);
  };
  return { fs: { open, read, write, writev, fsync, close: closeWith } };
}

const STILL_YOURS = 'The descriptor is still yours: you can pass it on';
const OPEN_AGAIN =
  'The descriptor is still yours: open /dev/fd/ with its number, because node:fs accepts only numbers that it opened';

/** File systems that answer without a server. Node asks for a fifo's attributes, and a server may never answer. */
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
 * The type of the file system in which a fifo has its name. `undefined` for a pipe, or if that cannot be told. The file
 * system itself is not asked.
 */
function fileSystemOf(fd: number): string | undefined {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:')) return undefined;
    const mount = /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!;
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8'); // proc_pid_mountinfo(5)
    return new RegExp(`^${mount} .* - (\\S+)`, 'm').exec(mounts)?.[1] ?? "which is another process's own";
  } catch {
    return undefined; // this is not Linux, or the permission model forbids it
  }
}

const CONNECTIONS = new Set<Kind>(['tcp', 'unix-stream', 'fifo']);
// No fifo: a read that waits for it would occupy one of the few threads for files. toSocket() is for fifos.
const FILES = new Set<Kind>(['file', 'tty', 'character-device', 'block-device']);

function allows(fd: number, direction: number): boolean {
  return (checked(addon.access(fd), 'fcntl') & direction) !== 0;
}

function described(fd: number, kind: Kind, listening = false): string {
  const open = ['with O_PATH alone', 'for reading', 'for writing', 'for both'];
  return `${listening ? 'a listening ' : ''}${kind}, open ${open[checked(addon.access(fd), 'fcntl')]}`;
}
