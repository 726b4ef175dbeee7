import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { invalidValue } from '../../common/arguments.js';
import { isReadByHttp, replace } from '../../descriptor/node-internals.js';
import type { OwnedFd } from '../../descriptor/owned-fd.js';
import { runtime } from '../../native/runtime.js';
import type { Carried, Connection, Json } from './carried.js';
import { adoptForProgram, ProgramConnection, type Carrier } from './carrier.js';
import { Departures } from './departures.js';
import { adoptHttp, HttpConnection } from './http.js';

/** What moves, where it can. */
export interface LiveSettings {
  readonly http: boolean;
  readonly websocket: boolean;
}

/** Those who are connected to one server, and may move to another process. */
export class LiveConnections {
  readonly #server: Server;
  readonly #settings: LiveSettings;
  readonly #sockets = new Set<Socket>();
  readonly #http = new WeakMap<Socket, HttpConnection>();
  #departures: Departures | undefined;
  /** For a server of the program's own protocol, from `serving.carry`. */
  carrier: Carrier | undefined;

  /** Knows those who connect from now on. Of TLS, of HTTP/2, in Bun and in Deno none can move. */
  constructor(server: Server, settings: LiveSettings) {
    this.#server = server;
    this.#settings = settings;
    if (runtime !== 'node' || 'setSecureContext' in server) return;
    const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
    replace(server, 'emit', (event: string, ...args: unknown[]) => {
      if (event === 'connection') this.#keep(args[0] as Socket);
      else if (this.#departures !== undefined && ANSWERED.has(event)) this.#answering(args[1] as ServerResponse);
      return emit(event, ...args);
    });
  }

  /** Whether this connection moves once it can, from `leave` on. Of the others each is to be asked to leave by its protocol. */
  moves(socket: Socket): boolean {
    return this.#departures?.has(socket) === true;
  }

  /**
   * Each connection when it can go: idle ones at once, busy ones when they are idle, in no order. Ends when none is left that
   * could, or is aborted: what was not yielded then stays as it was.
   */
  leave(signal: AbortSignal): AsyncGenerator<Carried, void> {
    this.#departures = new Departures();
    for (const socket of this.#sockets) this.#offer(socket);
    return this.#departures.all(signal);
  }

  /**
   * Goes on with a connection that another process yielded. `fd` is the server's then. Throws as `toConnection` does, and
   * `ERR_INVALID_ARG_VALUE` for a kind that does not move here; it is then the caller's as before.
   */
  adopt(kind: string, fd: OwnedFd, state: Json): void {
    if (kind === 'http') adoptHttp(this.#server, fd, state);
    else if (kind === 'program' && this.carrier !== undefined) {
      const socket = adoptForProgram(this.#server, fd, this.carrier, state);
      if (socket !== undefined) this.#keep(socket);
    } else throw invalidValue('kind', 'of a connection that moves here', kind);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#departures !== undefined) process.nextTick(() => this.#offer(socket));
  }

  #offer(socket: Socket): void {
    const connection = this.#connectionOf(socket);
    if (connection !== undefined) this.#departures?.offer(connection);
  }

  #connectionOf(socket: Socket): Connection | undefined {
    if (this.carrier !== undefined) return new ProgramConnection(socket, this.carrier);
    if (!this.#settings.http || !isReadByHttp(socket)) return undefined;
    let connection = this.#http.get(socket);
    if (connection === undefined) this.#http.set(socket, (connection = new HttpConnection(socket)));
    return connection;
  }

  /** A request has come while connections leave. */
  #answering(response: ServerResponse): void {
    const { socket } = response;
    if (socket !== null) this.#http.get(socket)?.answering(response); // the others wait behind one that has it
  }
}

/** Events of a server with a response. */
const ANSWERED = new Set(['request', 'checkContinue', 'checkExpectation']);
