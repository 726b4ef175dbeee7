/**
 * All that this library uses of Node without its being documented, seen in Node 20, 22 and 24.
 *
 * Nothing documented leads from a socket or server to its descriptor, keeps a socket from reading, or tells whether an
 * HTTP connection is between two requests. `child_process` passes sockets by the same means.
 */
import type { Socket as DatagramSocket } from 'node:dgram';
import { closeSync, type ReadStream, type WriteStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Agent, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { builtin } from '../common/lazy-modules.js';

interface Handle {
  readonly fd?: number;
  /** While it is true, `net.Socket` never calls `readStart`. */
  reading: boolean;
  readStart(): number;
  readStop(): number;
  setBlocking(blocking: boolean): number;
}

interface SocketInternals {
  readonly _handle: Handle | null;
  readonly _readableState: { ended: boolean; reading: boolean; decoder?: { lastNeed?: number } | null };
  /** The HTTP parser, and the request or response under way. */
  readonly parser?: { socket?: unknown } | null;
  readonly _httpMessage?: object | null;
  readonly server?: Record<symbol, { active(): object[] } | undefined> | null;
  /** `resetAndDestroy()` was called. */
  resetAndClosing?: boolean;
}

const internals = (socket: Socket): SocketInternals => socket as unknown as SocketInternals;

/** What has the descriptor; another one each time that the object connects or listens. */
export function handleOf(object: Socket | Server): { readonly fd?: number } | null {
  return (object as unknown as Pick<SocketInternals, '_handle'>)._handle;
}

/** The descriptor, or `-1` when there is none: not yet, not any more, or a cluster's primary has it. */
export function handleNumber(object: Socket | Server): number {
  return handleOf(object)?.fd ?? -1;
}

/** Lets no write wait for the kernel. */
export function setNonblocking(socket: Socket): void {
  internals(socket)._handle!.setBlocking(false);
}

interface DatagramState {
  readonly handle: DatagramHandle | null;
  readonly receiving: boolean;
  connectState: number;
}

interface DatagramHandle {
  readonly fd: number;
  lookup(host: string, callback: (error: Error | null, address?: string) => void): void;
  recvStart(): number;
  recvStop(): number;
  /** Bun's has none. */
  getpeername?(into: object): number;
}

/** Its `_handle` would print a deprecation warning. */
function datagramState(socket: DatagramSocket): DatagramState | undefined {
  const symbol = symbolOf(socket, 'state symbol');
  return symbol === undefined ? undefined : (socket as unknown as Record<symbol, DatagramState>)[symbol];
}

/** The descriptor of a datagram socket, or `-1` when there is none. */
export function datagramNumber(socket: DatagramSocket): number {
  return datagramState(socket)?.handle?.fd ?? -1;
}

/** Receives nothing more until the function that is returned is called. */
export function stopReceiving(socket: DatagramSocket): () => void {
  datagramState(socket)?.handle?.recvStop();
  return () => {
    const state = datagramState(socket);
    if (state?.receiving) state.handle?.recvStart();
  };
}

/** Tells `dgram` what it does not ask: that the socket which it was given is connected. */
export function noteConnected(socket: DatagramSocket): void {
  const state = datagramState(socket);
  if (state?.handle?.getpeername?.({}) === 0) state.connectState = 2; // CONNECT_STATE_CONNECTED
}

/** A look-up of a host name, or anything else that libuv was asked for. */
interface ActiveRequest {
  readonly callback?: { readonly name?: string };
  oncomplete?: (...results: unknown[]) => void;
}

/** Knows, from when it is made, whether a datagram still waits for the name of its host to be looked up. */
export class Lookups {
  readonly #restores: (() => void)[];
  /** And one more for what was sent before in this turn of the loop, to an address that needs no look-up. */
  #pending = 1;
  /** Called when nothing waits, or the socket was closed. */
  whenDone: (() => void) | undefined;

  constructor(socket: DatagramSocket) {
    setImmediate(() => this.#done());
    const active = (process as { _getActiveRequests?: () => ActiveRequest[] })._getActiveRequests?.() ?? [];
    // Those of other datagram sockets are among them; nothing tells them apart.
    for (const request of active) if (request.callback?.name === 'afterDns') this.#await(request);
    const close = socket.close.bind(socket);
    const closing = (...args: Parameters<typeof close>): DatagramSocket => {
      close(...args);
      this.whenDone?.();
      return socket;
    };
    this.#restores = [replace(socket, 'close', closing)];
    const handle = datagramState(socket)?.handle;
    if (handle?.lookup === undefined) return;
    const lookup = handle.lookup.bind(handle);
    const counted = (host: string, callback: (...results: unknown[]) => void): void => {
      this.#pending++;
      lookup(host, (...results) => {
        setImmediate(() => this.#done());
        callback(...results);
      });
    };
    this.#restores.push(replace(handle, 'lookup', counted));
  }

  get done(): boolean {
    return this.#pending === 0;
  }

  forget(): void {
    for (const restore of this.#restores) restore();
    this.whenDone = undefined;
  }

  #await(request: ActiveRequest): void {
    const { oncomplete } = request;
    if (oncomplete === undefined) return;
    this.#pending++;
    request.oncomplete = (...results) => {
      setImmediate(() => this.#done());
      oncomplete.apply(request, results);
    };
  }

  #done(): void {
    if (--this.#pending === 0) this.whenDone?.();
  }
}

/**
 * Reads nothing more from the kernel, whoever asks, and does not act on the peer's end, until the function that is
 * returned is called: with the bytes that were taken out since.
 */
export function stopReading(socket: Socket): (unread: Buffer | undefined) => void {
  const { _readableState: state } = internals(socket);
  const handle = internals(socket)._handle!;
  const { ended } = state;
  let { reading } = handle;
  handle.readStop();
  handle.reading = true;
  // http.Server calls these by itself.
  const restores = [
    replace(handle, 'readStart', () => ((reading = true), 0)),
    replace(handle, 'readStop', () => ((reading = false), 0)),
  ];
  state.ended = false; // reading the last bytes would end the socket, and that shuts the connection down
  return (unread) => {
    for (const restore of restores) restore();
    if (unread !== undefined) socket.unshift(unread);
    handle.reading = reading || state.reading;
    if (handle.reading) handle.readStart();
    state.ended = ended;
    if (ended) socket.read(0); // as net.Socket does at the end
  };
}

/** Emits no `'timeout'` until the function that is returned is called: its time begins anew then. */
export function stopTimer(socket: Socket): () => void {
  const timeout = socket.timeout ?? 0;
  if (timeout > 0) socket.setTimeout(0);
  return () => {
    if (timeout > 0 && socket.timeout === 0) socket.setTimeout(timeout);
  };
}

/**
 * Whether a `tls.TLSSocket` over it has begun to read or write: that has put its own property in place of the handle's.
 */
export function isUsedByTls(socket: Socket): boolean {
  const { _handle: handle } = internals(socket);
  const reading = handle === null ? undefined : Object.getOwnPropertyDescriptor(handle, 'reading');
  return reading?.get !== undefined && socket.bytesRead + socket.bytesWritten > 0;
}

/** Whether bytes were turned into text, which not every byte survives. */
export function holdsText(socket: Socket): boolean {
  const { _readableState: state } = internals(socket);
  const lastNeed = state.decoder?.lastNeed ?? 0;
  return socket.readableEncoding !== null && (socket.readableLength > 0 || lastNeed > 0);
}

/** Takes out what was read and not consumed. `read()` alone would also emit it as `'data'`. */
export function takeBuffered(socket: Socket): Buffer {
  const restore = replace(socket, 'emit', () => false);
  try {
    // All that there is, and not a byte more: that would count as an attempt to read past the end.
    return socket.read(socket.readableLength) as Buffer;
  } finally {
    restore();
  }
}

/** Whether an HTTP/1 parser reads it. It has let go of an upgraded or tunnelled connection. */
export function isReadByHttp(socket: Socket): boolean {
  const { parser } = internals(socket);
  return parser !== null && parser !== undefined;
}

/** The response that is being written to a connection, if there is one. */
export function responseOf(socket: Socket): ServerResponse | undefined {
  return (internals(socket)._httpMessage as ServerResponse | null | undefined) ?? undefined;
}

/**
 * Whether HTTP/2 is spoken over it, an HTTP/1 parser has seen part of a request, or a response is still due. Of an
 * upgraded or tunnelled connection HTTP has let go.
 */
export function isBusyWithHttp(socket: Socket): boolean {
  const { parser, _httpMessage: message, server } = internals(socket);
  if ((message ?? null) !== null || hasHttp2(socket)) return true;
  if (parser === null || parser === undefined) return false;
  const symbol = symbolOf(server, 'http.server.connections');
  const connections = symbol === undefined ? undefined : server?.[symbol];
  if (connections === undefined) return true;
  // A parser is active from the first byte of a message to the last, but also before the first byte of all.
  return !isUntouched(socket) && connections.active().includes(parser);
}

/** The name of the property differs, and some versions of Node have no name for it. */
function hasHttp2(socket: Socket): boolean {
  return Reflect.ownKeys(socket).some((key) => {
    const value: unknown = Object.getOwnPropertyDescriptor(socket, key)?.value;
    return typeof value === 'object' && value !== null && value.constructor?.name.endsWith('Http2Session');
  });
}

/** What `http.Server` does by itself to the socket of a parser. */
interface ServedSocket {
  readonly _httpMessage: undefined;
  readonly server: { emit(event: string, error: Error): boolean };
  destroy(): void;
  removeListener(event: string, listener: (error: Error) => void): void;
  listenerCount(): number;
}

/**
 * Keeps an `http.Server` from its connection, which it would time out and answer, or close as an idle one, until the
 * function that is returned is called: what it would have done is done then.
 */
export function leaveServer(socket: Socket): () => void {
  const { parser } = internals(socket);
  if (parser?.socket !== socket) return () => {};
  let late: (() => void) | undefined;
  let onError: ((error: Error) => void) | undefined;
  const standIn: ServedSocket = {
    _httpMessage: undefined,
    destroy: () => (late = () => void socket.destroy()),
    // Node's own reaction to a timeout begins with these.
    removeListener: (_event, listener) => (onError = listener),
    listenerCount: () => 1,
    server: {
      emit: (_event, error) => {
        late = () => onError?.call(socket, error);
        return true;
      },
    },
  };
  parser.socket = standIn;
  return () => {
    if (parser.socket !== standIn) return;
    parser.socket = socket;
    late?.();
  };
}

/** A connection in the hands of an `http.Agent`. */
interface Pooled {
  readonly agent: Agent;
  /** Under which name it is free in there; `undefined` while it is used. */
  readonly name: string | undefined;
  /** Gives it to the next request. */
  readonly use: () => void;
}

function pooled(socket: Socket): Pooled | undefined {
  const use = socket.listeners('free').find(({ name }) => name === 'onFree') as (() => void) | undefined;
  const agent = use === undefined ? undefined : agentBehind(use);
  if (agent === undefined) return undefined;
  const [name] = Object.entries(agent.freeSockets).find(([, sockets]) => sockets?.includes(socket)) ?? [];
  return { agent, name, use: use! };
}

/** Nothing leads from a socket to its agent but a listener that makes the agent emit `'free'`. */
function agentBehind(onFree: () => void): Agent | undefined {
  const found: Agent[] = [];
  const restore = replace(builtin.http.Agent.prototype, 'emit', function (this: Agent) {
    return found.push(this) > 0;
  });
  try {
    onFree();
  } finally {
    restore();
  }
  return found[0];
}

/** Whether an `http.Agent` has given it to a request, or has not heard yet that the response is over. */
export function isUsedByAgent(socket: Socket): boolean {
  const pool = pooled(socket);
  return pool !== undefined && pool.name === undefined;
}

/** Takes a free connection out of its agent, until the function that is returned is called. */
export function leavePool(socket: Socket): () => void {
  const { agent, name, use } = pooled(socket) ?? {};
  if (agent === undefined || name === undefined) return () => {};
  const free = agent.freeSockets as Record<string, Socket[]>;
  const rest = free[name]!.filter((other) => other !== socket);
  if (rest.length > 0) free[name] = rest;
  else Reflect.deleteProperty(free, name);
  return () => {
    if (agent.requests[name] === undefined) {
      (free[name] ??= []).push(socket);
      return;
    }
    socket.ref(); // the agent has done the reverse to a free one
    use!();
  };
}

/** Node's own name of a method that does something to the descriptor. */
type Doing = '_write' | '_writev' | '_final' | '_destroy';
type Callback = (error?: Error | null) => void;

/**
 * A stream whose descriptor departs: nothing here writes to it, ends it or closes it. What is asked for meanwhile is
 * done when the stream is back. Its methods are replaced for so long, so that no listener can be in the way.
 */
export class Departure {
  readonly #stream: Socket | ReadStream | WriteStream;
  readonly #restores: (() => void)[] = [];
  readonly #asked = new Map<Doing, unknown[]>();

  constructor(stream: Socket | ReadStream | WriteStream) {
    this.#stream = stream;
    for (const name of ['_write', '_writev', '_final', '_destroy'] as const) {
      const wait = (...args: unknown[]): void => void this.#asked.set(name, args);
      if (typeof this.#methods[name] === 'function') this.#restores.push(replace(stream, name, wait));
    }
  }

  /** It is back. */
  goOn(): void {
    this.#restore();
    this.#do('_destroy'); // first: what was written fails then, as it does in Node
    for (const name of ['_write', '_writev', '_final'] as const) this.#do(name);
  }

  /** It is another process's now: what was written fails with this error. */
  close(error: Error): void {
    this.#restore();
    (this.#stream as Partial<SocketInternals>).resetAndClosing = false; // that would reset the other process's connection
    if (this.#asked.has('_destroy')) this.#do('_destroy');
    else this.#stream.destroy('writableLength' in this.#stream && this.#stream.writableLength > 0 ? error : undefined);
    for (const args of this.#asked.values()) (args.at(-1) as Callback)(error);
  }

  #restore(): void {
    for (const restore of this.#restores) restore();
  }

  #do(name: Doing): void {
    const args = this.#asked.get(name);
    this.#asked.delete(name);
    if (args !== undefined) this.#methods[name](...args);
  }

  get #methods(): Record<Doing, (...args: unknown[]) => void> {
    return this.#stream as unknown as Record<Doing, (...args: unknown[]) => void>;
  }
}

/** `net.Server`'s own reaction to an accepted connection, and the name under which it finds the server. */
interface Acceptor {
  readonly onconnection: (this: object, error: number, connection: Handle) => void;
  readonly owner: symbol;
}

let acceptor: Acceptor | undefined;

/** Nothing leads to it but the handle of a server that listens: here one that listens to nothing. */
function acceptorOfNode(): Acceptor {
  const handle = { listen: () => 0, close() {}, getAsyncId: () => 1 };
  const server = new builtin.net.Server() as unknown as { _handle: object | null; _listen2(...args: unknown[]): void };
  server._handle = handle;
  server._listen2(null, -1, -1);
  server._handle = null; // it emits no 'listening'
  const { onconnection } = handle as unknown as Acceptor;
  return { onconnection, owner: symbolOf(handle, 'owner_symbol')! };
}

/** Whether it has listened, or was to, and does so no more, or not yet. One that never was to listen is not closed. */
export function isClosedServer(server: Server): boolean {
  const { _handle: handle, _listeningId: changes } = server as unknown as {
    _handle: Handle | null;
    _listeningId: number;
  };
  return handle === null && changes > 1;
}

/** Makes a handle, which owns the number, and that does not read yet. */
export function openHandle(fd: number): Handle {
  const options = { fd, readable: true, writable: true, manualStart: true };
  const socket = new builtin.net.Socket(options) as unknown as { _handle: Handle | null };
  const handle = socket._handle!;
  socket._handle = null; // another socket gets it
  return handle;
}

/**
 * Gives a server a connection as the kernel does. `begin` has it before any listener; no listener has it if it returns
 * false. `undefined` when the server has dropped and closed it. What a listener throws is an uncaught exception, as it
 * is in Node.
 */
export function acceptHandle(server: Server, handle: Handle, begin: (socket: Socket) => boolean): Socket | undefined {
  acceptor ??= acceptorOfNode();
  if (!server.listening) trackConnections(server);
  let accepted: Socket | undefined;
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
  const restore = replace(server, 'emit', (event: string, ...args: unknown[]) => {
    if (event === 'connection') {
      restore();
      accepted = args[0] as Socket;
      if (!begin(accepted)) return true;
    }
    try {
      return emit(event, ...args);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
      return true;
    }
  });
  try {
    acceptor.onconnection.call({ [acceptor.owner]: server }, 0, handle);
  } finally {
    restore();
  }
  return accepted;
}

/** Has an `http.Server` that does not listen know its connections: it begins with that when it listens. */
function trackConnections(server: Server): void {
  if (symbolOf(server, 'http.server.connections') !== undefined) return;
  const track = server.listeners('listening').find(({ name }) => name === 'setupConnectionsTracking');
  track?.call(server);
}

interface HttpServer extends Server {
  readonly timeout?: number;
  readonly keepAliveTimeout?: number;
  readonly keepAliveTimeoutBuffer?: number;
}

interface Parser {
  readonly constructor: Record<(typeof PARSED)[number], number>;
  onIncoming: ((...args: unknown[]) => unknown) | null;
  execute(bytes: Buffer): unknown;
}

/** What a parser calls for the parts of a message. */
const PARSED = ['kOnMessageBegin', 'kOnHeaders', 'kOnHeadersComplete', 'kOnBody', 'kOnMessageComplete'] as const;

/**
 * Has an `http.Server` hold its new connection for one between two requests: it closes that with the idle ones, and
 * when `keepAliveTimeout` is over. To be so, its parser must have seen a request; nobody else sees this one.
 */
export function beginIdle(socket: Socket, server: HttpServer): void {
  const parser = internals(socket).parser as Parser | null | undefined;
  if (parser === null || parser === undefined) return;
  begunElsewhere.add(socket);
  const restores = PARSED.map((name) => replace(parser as object, parser.constructor[name] as never, () => 0));
  parser.execute(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  for (const restore of restores) restore();
  const { keepAliveTimeout = 0, keepAliveTimeoutBuffer = 1000 } = server;
  if (keepAliveTimeout <= 0) return;
  socket.setTimeout(keepAliveTimeout + keepAliveTimeoutBuffer);
  const { onIncoming } = parser;
  parser.onIncoming = (...args) => {
    parser.onIncoming = onIncoming;
    socket.setTimeout(server.timeout ?? 0);
    return onIncoming!(...args);
  };
}

const begunElsewhere = new WeakSet<Socket>();

/** Notes a socket that begins with bytes which the kernel no longer has. */
export function noteUnread(socket: Socket): void {
  begunElsewhere.add(socket);
}

/** Whether no byte of it was ever read. */
export function isUntouched(socket: Socket): boolean {
  return socket.bytesRead === 0 && !begunElsewhere.has(socket);
}

/** Whether it reads from the file's shared position, and has read what nobody has consumed. */
export function hasReadAhead(stream: ReadStream): boolean {
  return sharesPosition(stream) && stream.readableLength > 0;
}

/** Whether it reads from the file's shared position, and is reading. */
export function isReadingAhead(stream: ReadStream): boolean {
  return sharesPosition(stream) && (stream as unknown as SocketInternals)._readableState.reading;
}

function sharesPosition(stream: ReadStream): boolean {
  return (stream as { pos?: number }).pos === undefined;
}

/** Reads nothing more from its file until the function that is returned is called. */
export function stopReadingFile(stream: ReadStream): () => void {
  let wanted: number | undefined;
  const restore = replace(stream, '_read', (size: number) => (wanted = size));
  return () => {
    restore();
    if (wanted !== undefined) stream._read(wanted);
  };
}

/** Calls back whenever a stream may have been opened, or failed or was destroyed, whatever its listeners do. */
export function watchOpening(stream: ReadStream | WriteStream, callback: () => void): () => void {
  const then = (method: (...args: unknown[]) => unknown) => {
    return (...args: unknown[]): unknown => {
      try {
        return method.apply(stream, args);
      } finally {
        callback();
      }
    };
  };
  const methods = stream as unknown as Record<'emit' | 'destroy', (...args: unknown[]) => unknown>;
  const restores = [replace(methods, 'emit', then(methods.emit)), replace(methods, 'destroy', then(methods.destroy))];
  return () => {
    for (const restore of restores) restore();
  };
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
 * Has `fs` close a number that a worker's list may or may not have; returns 0 or a negative errno. Node would warn of
 * one that is not on it, by calling this function.
 */
export function closeUnwarned(fd: number): number {
  const restore = replace(process, 'emitWarning', () => {});
  try {
    closeSync(fd);
    return 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? 0;
  } finally {
    restore();
  }
}

/** Puts a property of its own in the place of another, until the function that is returned is called. */
export function replace<T extends object>(object: T, name: keyof T | Doing | '_read', value: unknown): () => void {
  const own = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, writable: true, configurable: true });
  return () => {
    if (own === undefined) Reflect.deleteProperty(object, name);
    else Object.defineProperty(object, name, own);
  };
}

function symbolOf(object: object | null | undefined, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object ?? {}).find((symbol) => symbol.description === description);
}
