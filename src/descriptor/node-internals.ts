/**
 * All that this library uses of Node without its being documented, seen in Node 20, 22 and 24.
 *
 * Nothing documented leads from a socket or server to its descriptor, keeps a socket from reading, or tells whether an
 * HTTP connection is between two requests. `child_process` passes sockets by the same means.
 */
import type { Socket as DatagramSocket } from 'node:dgram';
import { closeSync, type ReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import { builtin } from '../native/builtin.js';

interface Handle {
  readonly fd?: number;
  /** While it is true, `net.Socket` never calls `readStart`. */
  reading: boolean;
  readStart(): number;
  readStop(): number;
}

interface SocketInternals {
  readonly _handle: Handle | null;
  readonly _readableState: { ended: boolean; reading: boolean; decoder?: { lastNeed?: number } | null };
  /** The HTTP parser, and the request or response under way. */
  readonly parser?: object | null;
  readonly _httpMessage?: object | null;
  readonly server?: Record<symbol, { active(): object[] } | undefined> | null;
}

const internals = (socket: Socket): SocketInternals => socket as unknown as SocketInternals;

/** The descriptor, or `-1` when there is none: not yet, not any more, or a cluster's primary has it. */
export function handleNumber(of: Socket | Server): number {
  const { _handle: handle } = of as unknown as Pick<SocketInternals, '_handle'>;
  return handle?.fd ?? -1;
}

/** The same of a datagram socket, whose `_handle` would print a deprecation warning. */
export function datagramNumber(socket: DatagramSocket): number {
  const symbol = symbolOf(socket, 'state symbol');
  const states = socket as unknown as Record<symbol, { handle: { fd: number } | null }>;
  return symbol === undefined ? -1 : (states[symbol]?.handle?.fd ?? -1);
}

/**
 * Reads nothing more from the kernel, whoever asks, and does not act on the peer's end, until the function that is
 * returned is called: with the bytes that were taken out since.
 */
export function stopReading(socket: Socket): (unread: Buffer | undefined) => void {
  const { _handle: handle, _readableState: state } = internals(socket);
  const { reading } = handle!;
  const { ended } = state;
  handle!.readStop();
  handle!.reading = true;
  state.ended = false; // reading the last bytes would end the socket, and that shuts the connection down
  return (unread) => {
    if (unread !== undefined) socket.unshift(unread);
    handle!.reading = reading || state.reading;
    if (handle!.reading) handle!.readStart();
    state.ended = ended;
    if (ended) socket.read(0); // as net.Socket does at the end
  };
}

/** Whether a `tls.TLSSocket` over it has begun to read: that has put its own property in place of the handle's. */
export function isReadByTls(socket: Socket): boolean {
  const { _handle: handle } = internals(socket);
  const reading = handle === null ? undefined : Object.getOwnPropertyDescriptor(handle, 'reading');
  return reading?.get !== undefined && socket.bytesRead > 0;
}

/** Whether bytes were turned into text, which not every byte survives. */
export function holdsText(socket: Socket): boolean {
  const { _readableState: state } = internals(socket);
  const lastNeed = state.decoder?.lastNeed ?? 0;
  return socket.readableEncoding !== null && (socket.readableLength > 0 || lastNeed > 0);
}

/** Takes out what was read and not consumed. `read()` alone would also emit it as `'data'`. */
export function takeBuffered(socket: Socket): Buffer {
  const own = Object.getOwnPropertyDescriptor(socket, 'emit');
  socket.emit = () => false;
  try {
    // All that there is, and not a byte more: that would count as an attempt to read past the end.
    return socket.read(socket.readableLength) as Buffer;
  } finally {
    if (own === undefined) Reflect.deleteProperty(socket, 'emit');
    else Object.defineProperty(socket, 'emit', own);
  }
}

/** Whether the HTTP parser, if there is one, has seen part of a request, or a response is still due. */
export function isBusyWithHttp(socket: Socket): boolean {
  const { parser, _httpMessage: message, server } = internals(socket);
  if (parser === null || parser === undefined) return false;
  const symbol = symbolOf(server, 'http.server.connections');
  const connections = symbol === undefined ? undefined : server?.[symbol];
  if (connections === undefined || (message ?? null) !== null) return true;
  // A parser is active from the first byte of a message to the last, but also before the first byte of all.
  return !isUntouched(socket) && connections.active().includes(parser);
}

const begunElsewhere = new WeakSet<Socket>();

/** Notes a socket that begins with bytes which the kernel no longer has. */
export function noteUnread(socket: Socket): void {
  begunElsewhere.add(socket);
}

function isUntouched(socket: Socket): boolean {
  return socket.bytesRead === 0 && !begunElsewhere.has(socket);
}

/** Whether it reads from the file's shared position, and is reading or has read what nobody has consumed. */
export function hasReadAhead(stream: ReadStream): boolean {
  const { pos, _readableState: state } = stream as unknown as { pos?: number; _readableState: { reading: boolean } };
  return pos === undefined && (state.reading || stream.readableLength > 0);
}

/** `process.stdin` and the like: other sockets have no `fd`. */
export function isStandardStream(value: object): boolean {
  return value instanceof builtin.net.Socket && 'fd' in value;
}

/** `node:fs/promises` does not export the class. */
export function isFileHandle(value: object): value is FileHandle {
  return value.constructor?.name === 'FileHandle' && 'fd' in value && 'datasync' in value;
}

/**
 * Has `fs` close a number that a worker's list may or may not have; returns 0 or a negative errno. Node would warn of one that
 * is not on it, by calling this function.
 */
export function closeUnwarned(fd: number): number {
  const own = Object.getOwnPropertyDescriptor(process, 'emitWarning');
  process.emitWarning = () => {};
  try {
    closeSync(fd);
    return 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? 0;
  } finally {
    Object.defineProperty(process, 'emitWarning', own!);
  }
}

function symbolOf(object: object | null | undefined, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object ?? {}).find((symbol) => symbol.description === description);
}
