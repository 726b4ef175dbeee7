/**
 * Everything undocumented that this library uses of Node, as found in Node 20, 22, 24 and 26.
 *
 * Nothing documented leads from a socket or server to its descriptor, keeps a socket from reading, or tells whether an
 * HTTP connection is between two requests. `child_process` passes sockets in the same way.
 */
import type { Socket as DatagramSocket } from 'node:dgram';
import type { EventEmitter } from 'node:events';
import { closeSync, type ReadStream, type WriteStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Agent, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { builtin } from '../common/lazy-modules.js';
import { uncaught } from '../common/uncaught.js';
import { runtime } from '../native/runtime.js';

interface Handle {
  readonly fd?: number;
  /** While this is true, `net.Socket` does not call `readStart`. */
  reading: boolean;
  readStart(): number;
  readStop(): number;
  setBlocking(blocking: boolean): number;
}

interface SocketInternals {
  readonly _handle: Handle | null;
  readonly _readableState: { ended: boolean; reading: boolean; decoder?: { lastNeed?: number } | null };
  /** The HTTP parser, and the request or response that is in progress. */
  readonly parser?: { socket?: unknown } | null;
  readonly _httpMessage?: object | null;
  readonly server?: object | null;
  /** Whether `resetAndDestroy()` was called. */
  resetAndClosing?: boolean;
}

/** What an `http.Server` keeps of its connections: their parsers. */
interface HttpConnections {
  active(): object[];
  idle(): { readonly socket: Socket }[];
}

const internals = (socket: Socket): SocketInternals => socket as unknown as SocketInternals;

/** The object that has the descriptor. It is another one each time that the socket connects, or the server listens. */
export function handleOf(object: Socket | Server): { readonly fd?: number } | null {
  return (object as unknown as Pick<SocketInternals, '_handle'>)._handle;
}

/**
 * The descriptor's number, or `-1` if there is none: it is not open yet, it is closed, or a cluster's primary has it.
 */
export function handleNumber(object: Socket | Server): number {
  return handleOf(object)?.fd ?? -1;
}

/** Takes away the table of an emitter that has no listeners. Whatever needs it makes a new one. It takes 180 bytes. */
export function dropListenerTable(emitter: EventEmitter): void {
  if (runtime === 'node') (emitter as unknown as { _events: undefined })._events = undefined;
}

/** Makes writes return at once if the kernel has no room. */
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
  /** Missing in Bun. */
  getpeername?(into: object): number;
}

/** Does not use `_handle`, which would print a deprecation warning. */
function datagramState(socket: DatagramSocket): DatagramState | undefined {
  const symbol = symbolOf(socket, 'state symbol');
  return symbol === undefined ? undefined : (socket as unknown as Record<symbol, DatagramState>)[symbol];
}

/** The number of a datagram socket, or `-1` if there is none. */
export function datagramNumber(socket: DatagramSocket): number {
  return datagramState(socket)?.handle?.fd ?? -1;
}

/** Makes a socket receive nothing until the returned function is called. */
export function stopReceiving(socket: DatagramSocket): () => void {
  datagramState(socket)?.handle?.recvStop();
  return () => {
    const state = datagramState(socket);
    if (state?.receiving) state.handle?.recvStart();
  };
}

/** Tells `dgram` that the socket it was given is connected, if it is, because `dgram` does not ask. */
export function noteConnected(socket: DatagramSocket): void {
  const state = datagramState(socket);
  if (state?.handle?.getpeername?.({}) === 0) state.connectState = 2; // CONNECT_STATE_CONNECTED
}

/** A look-up of a host name, or another request to libuv. */
interface ActiveRequest {
  readonly callback?: { readonly name?: string };
  oncomplete?: (...results: unknown[]) => void;
}

/** Tells whether a datagram still waits for the look-up of its host's name. It counts from when it is made. */
export class Lookups {
  readonly #restores: (() => void)[];
  /**
   * The look-ups that have not ended. The first 1 stands for what was sent earlier in this turn of the loop to an
   * address that needs no look-up.
   */
  #pending = 1;
  /** Called when nothing waits any more, or the socket is closed. */
  whenDone: (() => void) | undefined;

  constructor(socket: DatagramSocket) {
    setImmediate(() => this.#done());
    const active = (process as { _getActiveRequests?: () => ActiveRequest[] })._getActiveRequests?.() ?? [];
    // The requests of other datagram sockets are among them, because nothing tells them apart.
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

/** A socket that reads nothing from the kernel, whoever asks, and does not act on the peer's end. */
export interface Stopped {
  /** It reads again. It is given the bytes that were taken out in the meantime, and puts them back. */
  goOn(unread: Buffer | undefined): void;
  /** It will never read again. */
  end(): void;
}

export function stopReading(socket: Socket): Stopped {
  const { _readableState: state } = internals(socket);
  const handle = internals(socket)._handle!;
  const { ended } = state;
  let { reading } = handle;
  handle.readStop();
  handle.reading = true;
  // http.Server calls these itself.
  const restore = replaceMethods(handle, [
    ['readStart', () => ((reading = true), 0)],
    ['readStop', () => ((reading = false), 0)],
  ]);
  state.ended = false; // otherwise reading the last bytes would end the socket, and with it shut down the connection
  return {
    goOn(unread) {
      restore();
      if (unread !== undefined) socket.unshift(unread);
      handle.reading = reading || state.reading;
      if (handle.reading) handle.readStart();
      state.ended = ended;
      if (ended) socket.read(0); // as net.Socket does when the peer ends
    },
    end: restore,
  };
}

/** Makes a socket emit no `'timeout'` until the returned function is called. Then the time begins anew. */
export function stopTimer(socket: Socket): () => void {
  const timeout = socket.timeout ?? 0;
  if (timeout > 0) socket.setTimeout(0);
  return () => {
    if (timeout > 0 && socket.timeout === 0) socket.setTimeout(timeout);
  };
}

/**
 * Whether a `tls.TLSSocket` over it has begun to read or write. Such a one has replaced the handle's property `reading`
 * by its own.
 */
export function isUsedByTls(socket: Socket): boolean {
  const { _handle: handle } = internals(socket);
  const reading = handle === null ? undefined : Object.getOwnPropertyDescriptor(handle, 'reading');
  return reading?.get !== undefined && socket.bytesRead + socket.bytesWritten > 0;
}

/** Whether it holds text that was made from bytes. Not every byte can be got back from that. */
export function holdsText(socket: Socket): boolean {
  const { _readableState: state } = internals(socket);
  const lastNeed = state.decoder?.lastNeed ?? 0;
  return socket.readableEncoding !== null && (socket.readableLength > 0 || lastNeed > 0);
}

/** Takes out what was read and not consumed. `read()` alone would emit it as `'data'` too. */
export function takeBuffered(socket: Socket): Buffer {
  const restore = replace(socket, 'emit', () => false);
  try {
    // Exactly the bytes that there are: asking for one more would count as an attempt to read beyond the end.
    return socket.read(socket.readableLength) as Buffer;
  } finally {
    restore();
  }
}

/** Whether an HTTP/1 parser reads it. The parser has let go of an upgraded or tunnelled connection. */
export function isReadByHttp(socket: Socket): boolean {
  const { parser } = internals(socket);
  return parser !== null && parser !== undefined;
}

/** The response that is being written to a connection, if there is one. */
export function responseOf(socket: Socket): ServerResponse | undefined {
  return (internals(socket)._httpMessage as ServerResponse | null | undefined) ?? undefined;
}

/**
 * Whether it speaks HTTP/2, an HTTP/1 parser has seen part of a request, or a response is still due. HTTP has let go of
 * an upgraded or tunnelled connection.
 */
export function isBusyWithHttp(socket: Socket): boolean {
  const { parser, _httpMessage: message, server } = internals(socket);
  if ((message ?? null) !== null) return true;
  if (parser === null || parser === undefined) return hasHttp2(socket);
  const connections = connectionsOf(server);
  if (connections === undefined) return true;
  // A parser is active from the first byte of a message to the last one. It is also active before the very first byte.
  return !isUntouched(socket) && connections.active().includes(parser);
}

/**
 * Closes the connections of an `http.Server` that are between two requests. Node's own function also closes those whose
 * response is ended and still being sent and, from Node 26 on, those whose first request has not been read yet.
 */
export function closeIdle(server: Server): void {
  for (const { socket } of connectionsOf(server)?.idle() ?? [])
    if (!isUntouched(socket) && responseOf(socket) === undefined) socket.destroy();
}

function connectionsOf(server: object | null | undefined): HttpConnections | undefined {
  const symbol = symbolOf(server, 'http.server.connections');
  return symbol === undefined ? undefined : (server as Record<symbol, HttpConnections | undefined>)[symbol];
}

/**
 * Looks at the values, because the session's key is a symbol with another description in each version of Node, or the
 * string 'undefined'.
 */
function hasHttp2(socket: Socket): boolean {
  return ['undefined', ...Object.getOwnPropertySymbols(socket)].some((key) => {
    const value = (socket as unknown as Record<string | symbol, unknown>)[key];
    return typeof value === 'object' && value !== null && value.constructor?.name.endsWith('Http2Session');
  });
}

/** What `http.Server` uses of the socket of a parser. */
interface ServedSocket {
  readonly _httpMessage: undefined;
  readonly server: { emit(event: string, error: Error): boolean };
  destroy(): void;
  removeListener(event: string, listener: (error: Error) => void): void;
  listenerCount(): number;
}

/**
 * Keeps an `http.Server` away from a connection until the returned function is called. The server might time it out and
 * answer, or close it as idle. The returned function then does what the server wanted to do.
 */
export function leaveServer(socket: Socket): () => void {
  const { parser } = internals(socket);
  if (parser?.socket !== socket) return () => {};
  let late: (() => void) | undefined;
  let onError: ((error: Error) => void) | undefined;
  const standIn: ServedSocket = {
    _httpMessage: undefined,
    destroy: () => (late = () => void socket.destroy()),
    // Node's own reaction to a timeout calls these first.
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

/** A connection that belongs to an `http.Agent`. */
interface Pooled {
  readonly agent: Agent;
  /** The name of its group of free connections in the agent, or `undefined` while it is in use. */
  readonly name: string | undefined;
  /** Makes the agent give it to the next request. */
  readonly use: () => void;
}

function pooled(socket: Socket): Pooled | undefined {
  const use = socket.listeners('free').find(({ name }) => name === 'onFree') as (() => void) | undefined;
  const agent = use === undefined ? undefined : agentBehind(use);
  if (agent === undefined) return undefined;
  const [name] = Object.entries(agent.freeSockets).find(([, sockets]) => sockets?.includes(socket)) ?? [];
  return { agent, name, use: use! };
}

/** Finds the agent behind a socket. Only a listener of the socket leads there: it makes the agent emit `'free'`. */
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

/** Whether an `http.Agent` has given it to a request, or does not know yet that the response has ended. */
export function isUsedByAgent(socket: Socket): boolean {
  const pool = pooled(socket);
  return pool !== undefined && pool.name === undefined;
}

/** Takes a free connection out of its agent until the returned function is called. */
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
    socket.ref(); // the agent has unreferenced it, as it does with a free one
    use!();
  };
}

/** Node's names of the methods that do something to the descriptor. */
const DOING = ['_write', '_writev', '_final', '_destroy'] as const;
type Doing = (typeof DOING)[number];
type Callback = (error?: Error | null) => void;

/**
 * A stream whose descriptor departs. Nothing here writes to it, ends it or closes it meanwhile. What is asked for is
 * done when the stream is given back. Its methods are replaced for that time; listeners could not ensure this, because
 * a program can remove them.
 */
export class Departure {
  readonly #stream: Socket | ReadStream | WriteStream;
  readonly #restore: () => void;
  readonly #asked = new Map<Doing, unknown[]>();

  constructor(stream: Socket | ReadStream | WriteStream) {
    this.#stream = stream;
    const waits = DOING.filter((name) => typeof this.#methods[name] === 'function').map((name) => {
      return [name, (...args: unknown[]): void => void this.#asked.set(name, args)] as const;
    });
    this.#restore = replaceMethods(this.#methods, waits);
  }

  /** Ends the departure: the stream works here again. */
  goOn(): void {
    this.#restore();
    this.#do('_destroy'); // done first: what was written then fails, as it does in Node
    for (const name of ['_write', '_writev', '_final'] as const) this.#do(name);
  }

  /** Ends the departure: another process has the descriptor. What was written here fails with this error. */
  close(error: () => Error): void {
    this.#restore();
    // Otherwise destroy() would reset the other process's connection.
    (this.#stream as Partial<SocketInternals>).resetAndClosing = false;
    if (this.#asked.has('_destroy')) this.#do('_destroy');
    else
      this.#stream.destroy('writableLength' in this.#stream && this.#stream.writableLength > 0 ? error() : undefined);
    for (const args of this.#asked.values()) (args.at(-1) as Callback)(error());
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

/**
 * The function with which `net.Server` handles an accepted connection, and the key under which that finds the server.
 */
interface Acceptor {
  readonly onconnection: (this: object, error: number, connection: Handle) => void;
  readonly owner: symbol;
}

let acceptor: Acceptor | undefined;

/**
 * Finds these in the handle of a server that listens, the only place where they are. This server listens on a handle
 * that does nothing.
 */
function acceptorOfNode(): Acceptor {
  const handle = { listen: () => 0, close() {}, getAsyncId: () => 1 };
  const server = new builtin.net.Server() as unknown as { _handle: object | null; _listen2(...args: unknown[]): void };
  server._handle = handle;
  server._listen2(null, -1, -1);
  server._handle = null; // so that it emits no 'listening'
  const { onconnection } = handle as unknown as Acceptor;
  return { onconnection, owner: symbolOf(handle, 'owner_symbol')! };
}

/** Whether a server was told to listen and does not listen now. One that was never told to listen is not closed. */
export function isClosedServer(server: Server): boolean {
  const { _handle: handle, _listeningId: changes } = server as unknown as {
    _handle: Handle | null;
    _listeningId: number;
  };
  return handle === null && changes > 1;
}

/** A class of handles. */
type HandleClass = new (type: typeof SOCKET) => Handle & { open(fd: number): number; close(): void };

/** The type of a handle that does not listen, `SOCKET` in Node. */
const SOCKET = 0;

/** Classes of handles by the kind of their descriptors, each known from the first one. */
const handleClasses = new Map<string, HandleClass>();

/** Makes a handle that owns the number of a connection of this kind, and does not read yet. */
export function openHandle(fd: number, kind: 'tcp' | 'unix-stream'): Handle {
  const known = handleClasses.get(kind);
  if (known === undefined) return firstHandle(fd, kind);
  const handle = new known(SOCKET);
  if (handle.open(fd) === 0) return handle;
  handle.close();
  return firstHandle(fd, kind); // which throws Node's error
}

/** Only a socket makes one. That takes longer. */
function firstHandle(fd: number, kind: string): Handle {
  const options = { fd, readable: true, writable: true, manualStart: true };
  const socket = new builtin.net.Socket(options) as unknown as { _handle: Handle | null };
  const handle = socket._handle!;
  socket._handle = null; // the handle is for another socket
  handleClasses.set(kind, handle.constructor as HandleClass);
  return handle;
}

/**
 * Gives a connection to a server as the kernel would. `begin` is called with it before any listener, and if it returns
 * false, no listener is called. Returns `undefined` if the server has dropped and closed the connection. What a
 * listener throws becomes an uncaught exception, as in Node.
 */
export function acceptHandle(server: Server, handle: Handle, begin: (socket: Socket) => boolean): Socket | undefined {
  acceptor ??= acceptorOfNode();
  if (!server.listening) {
    trackConnections(server);
    stayOpen(server);
  }
  let accepted: Socket | undefined;
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
  const restore = replace(server, 'emit', (event: string, ...args: unknown[]) => {
    if (event === 'connection') {
      restore();
      accepted = args[0] as Socket;
      if (!begin(accepted)) return true;
    }
    uncaught(() => emit(event, ...args));
    return true;
  });
  try {
    acceptor.onconnection.call({ [acceptor.owner]: server }, 0, handle);
  } finally {
    restore();
  }
  return accepted;
}

/**
 * Makes an `http.Server` that does not listen keep track of its connections, which it otherwise begins to do when it
 * listens.
 */
function trackConnections(server: Server): void {
  if (symbolOf(server, 'http.server.connections') !== undefined) return;
  const track = server.listeners('listening').find(({ name }) => name === 'setupConnectionsTracking');
  track?.call(server);
}

const staysOpen = new WeakSet<Server>();

/**
 * Keeps a server that does not listen from emitting `'close'` each time that its last connection ends: whoever attaches
 * to a server, as socket.io does, ends its own work then.
 */
function stayOpen(server: Server): void {
  if (staysOpen.has(server)) return;
  staysOpen.add(server);
  const restores = [
    replace(server, '_emitCloseIfDrained', () => {}),
    replace(server, 'close', (...args: Parameters<Server['close']>) => {
      for (const restore of restores) restore();
      staysOpen.delete(server);
      return server.close(...args);
    }),
  ];
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

/** The methods that a parser calls for the parts of a message. */
const PARSED = ['kOnMessageBegin', 'kOnHeaders', 'kOnHeadersComplete', 'kOnBody', 'kOnMessageComplete'] as const;

const REQUEST = Buffer.from('GET / HTTP/1.1\r\n\r\n');
const ignore = (): number => 0;

/**
 * Makes an `http.Server` regard its new connection as one between two requests. It closes that with the idle ones, and
 * after `keepAliveTimeout`. For this the connection's parser must have seen a request, so it is given one that nobody
 * else sees.
 */
export function beginIdle(socket: Socket, server: HttpServer): void {
  const parser = internals(socket).parser as Parser | null | undefined;
  if (parser === null || parser === undefined) return;
  begunElsewhere.add(socket);
  const callbacks = parser as unknown as Record<number, unknown>;
  const numbers = PARSED.map((name) => parser.constructor[name]);
  const own = numbers.map((number) => callbacks[number]);
  for (const number of numbers) callbacks[number] = ignore;
  parser.execute(REQUEST);
  for (const [i, number] of numbers.entries()) callbacks[number] = own[i];
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

/** Notes a socket whose first bytes are no longer in the kernel. */
export function noteUnread(socket: Socket): void {
  begunElsewhere.add(socket);
}

/** Whether no byte was ever read from it. */
export function isUntouched(socket: Socket): boolean {
  return socket.bytesRead === 0 && !begunElsewhere.has(socket);
}

/** Whether it reads from the file's shared position, and has read something that nobody has consumed. */
export function hasReadAhead(stream: ReadStream): boolean {
  return sharesPosition(stream) && stream.readableLength > 0;
}

/** Whether it reads from the file's shared position, and a read is in progress. */
export function isReadingAhead(stream: ReadStream): boolean {
  return sharesPosition(stream) && (stream as unknown as SocketInternals)._readableState.reading;
}

function sharesPosition(stream: ReadStream): boolean {
  return (stream as { pos?: number }).pos === undefined;
}

/** Makes it read nothing from its file until the returned function is called. */
export function stopReadingFile(stream: ReadStream): () => void {
  let wanted: number | undefined;
  const restore = replace(stream, '_read', (size: number) => (wanted = size));
  return () => {
    restore();
    if (wanted !== undefined) stream._read(wanted);
  };
}

/** Calls back whenever a stream may have been opened, destroyed, or failed, whatever its listeners do. */
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

/** Whether it is `process.stdin` or the like. Other sockets have no `fd`. */
export function isStandardStream(value: object): boolean {
  return value instanceof builtin.net.Socket && 'fd' in value;
}

/** Looks at the name of the class, because `node:fs/promises` does not export the class. */
export function isFileHandle(value: object): value is FileHandle {
  return value.constructor?.name === 'FileHandle' && 'fd' in value && 'datasync' in value;
}

/**
 * Closes a number by `fs`, whether or not it is on the list that a worker keeps. Returns 0 or a negative errno. For a
 * number that is not on the list Node would call `process.emitWarning`.
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

/**
 * Replaces methods until the returned function is called, as `replace` does, for thousands of objects at a time. They
 * stay own properties: to delete them would take long, and an object that is thrown away may live on for a while, with
 * all that it refers to.
 */
function replaceMethods<T extends object>(object: T, methods: (readonly [keyof T, unknown])[]): () => void {
  const before = methods.map(([name, value]) => {
    const method = object[name];
    Object.defineProperty(object, name, { value, writable: true, configurable: true });
    return [name, method] as const;
  });
  return () => {
    for (const [name, method] of before) object[name] = method;
  };
}

/** Replaces a property of the object by an own one, until the returned function is called. */
export function replace<T extends object>(
  object: T,
  name: keyof T | Doing | '_read' | '_emitCloseIfDrained',
  value: unknown,
): () => void {
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
