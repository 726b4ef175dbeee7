import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse, ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import { ANSWERED, follow } from '../live/follow.js';
import { afterClose, onceGone } from '../live/gone.js';

/** The arguments of a request. */
type Asked = [request: IncomingMessage, response: ServerResponse | Http2ServerResponse];

/** The largest stream identifier: "I am about to go, but go on for a moment" (RFC 9113, 6.8). */
const ALL_STREAMS = 2 ** 31 - 1;

/** Milliseconds after which a client that has not answered a PING is assumed not to answer. */
const ROUND_TRIP = 1000;

/** The clients that are connected to a server, and how each is asked to leave. */
export class Clients {
  readonly #unfollow: () => void;
  readonly #sockets = new Set<Socket>();
  /** `tls.TLSSocket`s, over some of the sockets above. */
  readonly #secure = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  /** The sessions that were asked to leave. */
  readonly #asked = new WeakSet<ServerHttp2Session>();
  /** Which connections need not be asked to leave, because they move to another process. */
  #moves: ((socket: Socket) => boolean) | undefined;
  #isCut = false;
  #whenGone: (() => void)[] = [];

  constructor(server: Server) {
    this.#unfollow = follow(server, (event, args) => {
      if (event === 'connection') this.#keep(this.#sockets, args[0] as Socket);
      else if (event === 'secureConnection') this.#keep(this.#secure, args[0] as Socket);
      else if (event === 'session') this.#begun(args[0] as ServerHttp2Session);
      else if (this.#moves !== undefined && ANSWERED.has(event)) this.#closeAfter(...(args as Asked));
    });
  }

  /** The server has closed, and may listen again. */
  close(): void {
    this.#unfollow();
  }

  #begun(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    if (this.#moves !== undefined) this.#goAway(session);
  }

  /**
   * From now on each response closes its connection, unless the connection moves, and each session of HTTP/2 takes no
   * new requests. Another call also asks connections that do not move after all.
   */
  leave(moves: (socket: Socket) => boolean): void {
    this.#moves = moves;
    for (const socket of [...this.#sockets, ...this.#secure]) {
      const response = (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
      if (response && !moves(socket)) response.shouldKeepAlive = false;
    }
    for (const session of this.#sessions) this.#goAway(session);
  }

  /** The clients stay after all. */
  stay(): void {
    this.#moves = undefined;
  }

  whenGone(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenGone.push(resolve);
      this.#check();
    });
  }

  /** Ends their connections. Those that do not end then are not waited for. */
  cut(): void {
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
    afterClose(() => {
      this.#isCut = true;
      this.#check();
    });
  }

  #closeAfter(request: IncomingMessage, response: ServerResponse | Http2ServerResponse): void {
    if (!('stream' in response) && !this.#moves!(request.socket)) response.shouldKeepAlive = false;
  }

  #goAway(session: ServerHttp2Session): void {
    if (!this.#asked.has(session)) goAway(session);
    this.#asked.add(session);
  }

  #keep(set: Set<Socket>, socket: Socket): void {
    set.add(socket);
    onceGone(socket, () => {
      set.delete(socket);
      this.#check();
    });
  }

  #check(): void {
    if (this.#sockets.size > 0 && !this.#isCut) return;
    for (const resolve of this.#whenGone.splice(0)) resolve();
  }
}

/**
 * Sends GOAWAY in two steps, so that requests are still answered that the client sends before it reads the first.
 * Node's own client answers no PING once it has read the first, and waits for the second.
 */
function goAway(session: ServerHttp2Session): void {
  if (session.closed || session.destroyed) return;
  const close = (): void => {
    clearTimeout(timer);
    if (!session.destroyed) session.close();
  };
  const timer = setTimeout(close, ROUND_TRIP);
  session.goaway(0, ALL_STREAMS);
  session.ping(close);
}
