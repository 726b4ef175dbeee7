import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse, ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';

/** The largest stream identifier: "I am about to go, but go on for a moment" (RFC 9113, 6.8). */
const ALL_STREAMS = 2 ** 31 - 1;

/** Milliseconds after which a client that has not answered a PING is assumed not to answer. */
const ROUND_TRIP = 1000;

/** The clients that are connected to a server, and how each is asked to leave. */
export class Clients {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** `tls.TLSSocket`s, over some of the sockets above. */
  readonly #secure = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  /** The sessions that were asked to leave. */
  readonly #asked = new WeakSet<ServerHttp2Session>();
  /** Which connections need not be asked to leave, because they move to another process. */
  #moves: ((socket: Socket) => boolean) | undefined;
  #whenGone: (() => void)[] = [];

  constructor(server: Server) {
    this.#server = server;
    server.prependListener('connection', this.#connected);
    server.prependListener('secureConnection', this.#secured);
    server.prependListener('session', this.#begun);
  }

  /** The server has closed, and may listen again. */
  close(): void {
    this.#server.removeListener('connection', this.#connected);
    this.#server.removeListener('secureConnection', this.#secured);
    this.#server.removeListener('session', this.#begun);
  }

  readonly #connected = (socket: Socket): void => this.#keep(this.#sockets, socket);

  readonly #secured = (socket: Socket): void => this.#keep(this.#secure, socket);

  readonly #begun = (session: ServerHttp2Session): void => {
    this.#keep(this.#sessions, session);
    if (this.#moves !== undefined) this.#goAway(session);
  };

  /**
   * From now on each response closes its connection, unless the connection moves, and each session of HTTP/2 takes no
   * new requests. Another call also asks connections that do not move after all.
   */
  leave(moves: (socket: Socket) => boolean): void {
    if (this.#moves === undefined) {
      this.#server.prependListener('request', this.#closeAfter);
      if (this.#server.listenerCount('checkContinue') > 0)
        this.#server.prependListener('checkContinue', this.#closeAfter);
    }
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
    this.#server.removeListener('request', this.#closeAfter);
    this.#server.removeListener('checkContinue', this.#closeAfter);
  }

  whenGone(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenGone.push(resolve);
      this.#check();
    });
  }

  cut(): void {
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  readonly #closeAfter = (request: IncomingMessage, response: ServerResponse | Http2ServerResponse): void => {
    if (!('stream' in response) && !this.#moves?.(request.socket)) response.shouldKeepAlive = false;
  };

  #goAway(session: ServerHttp2Session): void {
    if (!this.#asked.has(session)) goAway(session);
    this.#asked.add(session);
  }

  #keep<T extends Socket | ServerHttp2Session>(set: Set<T>, client: T): void {
    set.add(client);
    (client as Socket).once('close', () => {
      set.delete(client);
      this.#check();
    });
  }

  #check(): void {
    if (this.#whenGone.length === 0 || this.#sockets.size > 0) return;
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
