import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { invalidValue } from '../../common/arguments.js';
import { builtin } from '../../common/lazy-modules.js';
import { isReadByHttp } from '../../descriptor/node-internals.js';
import { setUnread, type OwnedFd } from '../../descriptor/owned-fd.js';
import { runtime } from '../../native/runtime.js';
import { Arrivals, type Arrival } from './arrivals.js';
import type { Carried, Connection, Json } from './carried.js';
import { adoptForProgram, ProgramConnection, type Carrier } from './carrier.js';
import { Departures } from './departures.js';
import { ANSWERED, follow } from './follow.js';
import { onceGone } from './gone.js';
import { adoptHttp, HttpConnection } from './http.js';
import { asksForWebSocket, readUpgrade, requestBytes, upgradeOf } from './upgrade.js';
import { Pace } from './pace.js';
import { takeIn } from './take-in.js';
import { Turns } from './turns.js';
import { ServedWebSocket } from './websocket.js';

/** What a connection that moves is: one of HTTP, a WebSocket, or one of the program's own protocol. */
export const KINDS = ['http', 'websocket', 'program'] as const;

/** What moves, where possible. */
export interface LiveSettings {
  readonly http: boolean;
  readonly websocket: boolean;
}

/** The arguments of an `'upgrade'` or a `'connect'`. */
type UpgradeArguments = [request: IncomingMessage, socket: Socket, head: Buffer];

/** The connections of one server, which may move to another process. */
export class LiveConnections {
  readonly #server: Server;
  readonly #settings: LiveSettings;
  readonly #sockets = new Set<Socket>();
  readonly #http = new WeakMap<Socket, HttpConnection>();
  readonly #webSockets = new Map<Socket, ServedWebSocket>();
  readonly #arrivals = new Arrivals((arrival, late) => this.#goOn(arrival, late));
  readonly #pace = new Pace();
  #departures: Departures | undefined;
  /** The kinds that the other process takes. */
  #taken: readonly string[] = KINDS;
  /** Those that departures have not been offered yet. */
  readonly #waiting = new Set<Socket>();
  #dismissing = false;
  readonly #unfollow: () => void;
  /** For connections of the program's own protocol. */
  carrier: Carrier | undefined;

  /** Follows the connections that come from now on. */
  constructor(server: Server, settings: LiveSettings) {
    this.#server = server;
    this.#settings = settings;
    this.#unfollow = follow(server, (event, args) => {
      if (event === 'connection') this.#keep(args[0] as Socket);
      else if (event === 'upgrade' || event === 'connect') this.#upgraded(args as UpgradeArguments);
      else if (this.#departures !== undefined && ANSWERED.has(event)) this.#answering(args[1] as ServerResponse);
    });
  }

  /** The kinds of connections of another process that it can go on with. */
  get kinds(): readonly string[] {
    if (!this.#canMove) return [];
    const { http, websocket } = this.#settings;
    const takes = {
      http: http && this.#isHttp,
      websocket: websocket && this.#isHttp,
      program: this.carrier !== undefined,
    };
    return KINDS.filter((kind) => takes[kind]);
  }

  /**
   * Whether this connection moves as soon as it can, after `leave` was called. All others must be asked to leave by
   * their protocol.
   */
  moves(socket: Socket): boolean {
    if (this.#departures === undefined || this.#departures.over) return false;
    return this.#departures.has(socket) || (this.#canMove && this.#waiting.has(socket));
  }

  /**
   * Each connection when it can go: idle ones at once, busy ones when they are idle, in no order. Ends when none is
   * left that could and `alone` has resolved, or is aborted: what was not yielded then stays as it was. WebSockets that
   * cannot move are dismissed.
   *
   * `alone` resolves when no other process hands connections over to this one any more. `kinds` are those that the
   * other process takes.
   */
  leave(
    signal: AbortSignal,
    alone: Promise<void> = Promise.resolve(),
    kinds: readonly string[] = KINDS,
  ): AsyncGenerator<Carried, void> {
    this.#taken = kinds;
    for (const socket of [...this.#sockets, ...this.#webSockets.keys()]) this.#waiting.add(socket);
    this.#departures = new Departures(Promise.all([alone, this.#offerAll()]));
    return this.#departures.all(signal);
  }

  /**
   * Asks the client of each WebSocket that does not move to connect again, with a close frame of code 1012, "service
   * restart". New WebSockets are asked when they begin.
   */
  dismiss(): void {
    this.#dismissing = true;
    for (const socket of this.#webSockets.keys()) this.#dismissUnlessMoving(socket);
  }

  /** The same for all, even in the middle of a message: the connections end now. */
  dismissAll(): void {
    this.#dismissing = true;
    for (const webSocket of this.#webSockets.values()) webSocket.dismiss(true);
  }

  /**
   * Gets what another process yielded, and goes on with it when that has `released` it. `fd` is this one's from now on.
   * Throws `ERR_INVALID_ARG_VALUE` for a key that is in use; it is then the caller's as before.
   */
  adopt(key: number, kind: string, fd: OwnedFd, state: Json): void {
    this.#arrivals.add(key, { kind, fd, state });
  }

  /**
   * The other process has nothing to do with it any more, and had written this to it last; or a part of that, if `more`
   * follows. Throws as `toConnection` does, and `ERR_INVALID_ARG_VALUE` for what does not move here; the connection is
   * closed then.
   */
  released(key: number, late: Buffer, more: boolean): void {
    this.#arrivals.release(key, late, more);
  }

  /** The other process has ended: what came from it is this one's. */
  orphaned(): void {
    this.#arrivals.releaseAll();
  }

  /** The server has closed, and may listen again. */
  close(): void {
    this.#arrivals.close();
    this.#unfollow();
  }

  // ---- what there is

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    onceGone(socket, () => this.#sockets.delete(socket));
    this.#offerSoon(socket);
  }

  /** When the program has begun with it. */
  #offerSoon(socket: Socket): void {
    if (this.#departures !== undefined) process.nextTick(() => this.#offer(socket));
  }

  #upgraded(args: UpgradeArguments): void {
    const [request, socket, head] = args;
    if (!asksForWebSocket(request)) {
      this.#offerSoon(socket);
      return;
    }
    const webSocket =
      this.#webSockets.get(socket) ?? this.#begin(new ServedWebSocket(socket, upgradeOf(request), this.#pace));
    webSocket.upgraded();
    if (head.length > 0) {
      socket.unshift(head); // so that it is read like the rest
      args[2] = Buffer.alloc(0);
    }
    this.#offer(socket);
  }

  #begin(webSocket: ServedWebSocket): ServedWebSocket {
    const { socket } = webSocket;
    this.#webSockets.set(socket, webSocket);
    onceGone(socket, () => this.#webSockets.delete(socket));
    return webSocket;
  }

  async #offerAll(): Promise<void> {
    const turns = new Turns();
    for (const socket of this.#waiting) {
      if (turns.over) await turns.next();
      this.#offer(socket);
    }
  }

  #offer(socket: Socket): void {
    this.#waiting.delete(socket);
    const departures = this.#departures?.over === false ? this.#departures : undefined;
    const connection = departures && this.#connectionOf(socket);
    if (connection !== undefined && this.#taken.includes(connection.kind)) departures!.offer(connection);
    if (departures !== undefined || this.#dismissing) this.#dismissUnlessMoving(socket);
  }

  #dismissUnlessMoving(socket: Socket): void {
    if (!this.moves(socket)) this.#webSockets.get(socket)?.dismiss();
  }

  get #canMove(): boolean {
    return runtime === 'node' && !('setSecureContext' in this.#server); // the latter: TLS
  }

  get #isHttp(): boolean {
    return this.#server instanceof builtin.http.Server;
  }

  /** Returns `undefined` when it cannot move. */
  #connectionOf(socket: Socket): Connection | undefined {
    if (!this.#canMove) return undefined;
    const webSocket = this.#webSockets.get(socket);
    if (webSocket !== undefined) return this.#settings.websocket ? webSocket : undefined;
    if (!isReadByHttp(socket)) return this.carrier && new ProgramConnection(socket, this.carrier);
    if (!this.#settings.http || !this.#isHttp) return undefined;
    let connection = this.#http.get(socket);
    if (connection === undefined) this.#http.set(socket, (connection = new HttpConnection(socket)));
    return connection;
  }

  /** A request has come while connections leave. */
  #answering(response: ServerResponse): void {
    const { socket } = response;
    if (socket !== null) this.#http.get(socket)?.answering(response); // the others wait behind this one
  }

  // ---- what comes

  #goOn({ kind, fd, state }: Arrival, late: Buffer): void {
    if (kind === 'http') adoptHttp(this.#server, fd, state);
    else if (kind === 'websocket') this.#rejoin(fd, state, late);
    else if (kind === 'program' && this.carrier !== undefined) adoptForProgram(this.#server, fd, this.carrier, state);
    else throw invalidValue('kind', 'of a connection that moves here', kind);
  }

  /** Gives the server the request of a WebSocket once more. */
  #rejoin(fd: OwnedFd, state: Json, late: Buffer): void {
    const { request, response } = (state ?? {}) as Record<string, Json | undefined>;
    const upgrade = readUpgrade(request);
    if (upgrade === undefined || typeof response !== 'string')
      throw invalidValue('state', 'that of a WebSocket', state);
    setUnread(fd, Buffer.concat([requestBytes(upgrade), fd.unread ?? Buffer.alloc(0)]));
    takeIn(this.#server, fd, (socket) => {
      this.#begin(new ServedWebSocket(socket, upgrade, this.#pace, response)).forward(late);
      return true;
    });
  }
}
