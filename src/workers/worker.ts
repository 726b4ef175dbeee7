import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { FdChannel } from '../channel/channel.js';
import { checkInteger, checkOptions, invalidType, type Names } from '../common/arguments.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { notAWorker, servesNothing } from '../errors.js';
import { VARIABLE, type FromWorker, type ToWorker } from './messages.js';

export interface ServeOptions {
  /**
   * Only connections of this listener, by its name: an address with its port, or a path. Default: all other listeners.
   */
  listener?: string | undefined;
}

const SERVE: Names<ServeOptions> = { listener: true };

/** Milliseconds that idle connections of a retiring worker have for one more request; then they are closed. */
const GRACE = 5000;
/** Milliseconds from one check for idle connections to the next, after that. */
const PAUSE = 100;

/** This process, as a worker of its supervisor. */
export class Worker {
  /** The number of its place: 0 and up. A worker that replaces it has the same. */
  readonly slot: number;
  readonly #channel: FdChannel<FromWorker | ToWorker>;
  readonly #servers = new Map<string | undefined, Server>();
  #open = 0;
  #ended = 0;
  #telling = false;
  #retiring = false;
  #idle: NodeJS.Timeout | undefined;

  /** @internal */
  constructor(slot: number, channel: FdChannel<FromWorker | ToWorker>) {
    this.slot = slot;
    this.#channel = channel;
    channel.on('error', () => {}); // the supervisor has gone: #run ends
    void this.#run();
  }

  /**
   * Gives connections to a server of node:net, http, https or http2, as if it had accepted them. The server need not
   * listen. Throws `ERR_INVALID_ARG_TYPE`.
   */
  serve(server: Server, options: ServeOptions = {}): this {
    const { listener } = checkOptions(options, SERVE);
    if (typeof server?.getConnections !== 'function') throw invalidType('server', 'a server of node:net', server);
    if (listener !== undefined && typeof listener !== 'string')
      throw invalidType('options.listener', 'a string', listener);
    this.#servers.set(listener, server);
    return this;
  }

  /** Takes connections from now on. Throws `ERR_FDPASSER_WORKER` when no server was given to `serve`. */
  ready(): void {
    if (this.#servers.size === 0) throw servesNothing();
    this.#send({ what: 'ready' });
  }

  /** Says how busy this worker is, for `pick: 'busy'`: an integer >= 0, used instead of its open connections. */
  busy(load: number): void {
    this.#send({ what: 'busy', load: checkInteger('load', load, 0, Number.MAX_SAFE_INTEGER) });
  }

  async #run(): Promise<void> {
    try {
      for await (const { value, fds } of this.#channel) {
        const message = value as ToWorker;
        if (message.what === 'connection') this.#take(message.listener, fds[0]!);
        else break;
      }
    } catch {
      // The supervisor has died. The connections here are served to their end.
    }
    this.#retire();
  }

  #take(listener: string, fd: OwnedFd): void {
    const server = this.#servers.get(listener) ?? this.#servers.get(undefined);
    this.#open++;
    let socket: Socket | undefined;
    try {
      if (server === undefined) throw servesNothing(listener);
      socket = fd.toConnection(server);
    } catch (error) {
      fd.close();
      process.emitWarning(error as Error);
    }
    if (socket === undefined) this.#over();
    else socket.once('close', () => this.#over());
  }

  #over(): void {
    this.#open--;
    this.#ended++;
    if (this.#retiring && this.#open === 0) this.#leave();
    if (this.#telling) return;
    this.#telling = true;
    setImmediate(() => {
      this.#telling = false;
      this.#send({ what: 'ended', count: this.#ended });
    });
  }

  #send(message: FromWorker): void {
    if (!this.#retiring) this.#channel.send(message).catch(() => {}); // the supervisor has gone
  }

  /**
   * Lets the process end when its connections have ended. Each answer is now the last of its connection, and says so.
   * Closing an idle connection at once would reset a request that its client sends at that moment.
   */
  #retire(): void {
    this.#retiring = true;
    for (const server of this.#servers.values()) server.prependListener('request', sayLast);
    if (this.#open === 0) this.#leave();
    else this.#idle = setTimeout(() => this.#closeIdle(), GRACE);
  }

  #closeIdle(): void {
    for (const server of this.#servers.values()) closeIdle(server);
    this.#idle = setTimeout(() => this.#closeIdle(), PAUSE);
  }

  #leave(): void {
    clearTimeout(this.#idle);
    void this.#channel.close().catch(() => {});
  }
}

function sayLast(request: IncomingMessage, response: ServerResponse): void {
  if (request.httpVersionMajor === 1) response.setHeader('Connection', 'close');
}

function closeIdle(server: Server): void {
  if ('closeIdleConnections' in server) (server as { closeIdleConnections(): void }).closeIdleConnections();
}

let own: Worker | undefined;

/** This process as a worker. Throws `ERR_FDPASSER_WORKER` when no supervisor has started it. */
export function worker(): Worker {
  if (own !== undefined) return own;
  const slot = process.env[VARIABLE];
  if (slot === undefined) throw notAWorker();
  const channel = FdChannel.inherit<FromWorker | ToWorker>();
  delete process.env[VARIABLE]; // no child of this process is a worker
  own = new Worker(Number(slot), channel);
  return own;
}
