import { setMaxListeners } from 'node:events';
import { ownMade, type OwnedFd } from '../descriptor/owned-fd.js';
import type { Feeding } from '../endpoint/listening.js';
import type { TcpAddress } from '../endpoint/tcp-address.js';
import { TcpConnection } from '../endpoint/tcp-connection.js';
import { TcpServer } from '../endpoint/tcp-server.js';
import type { Bound, Place } from './bind.js';
import { firstBytes } from './first-bytes.js';
import { Held } from './held.js';
import type { Settings } from './options.js';

/** What takes connections from listeners. */
export interface Taker {
  /** How many it takes now. */
  room(listener: string): number;
  take(connections: readonly Held[]): void;
  changed(): void;
  failed(error: Error): void;
}

/** The most connections that are peeked at and have not sent enough yet. Others wait in the backlog. */
const MOST_SILENT = 4096;

/** One listener of a supervisor. It accepts only what can be handed over. */
export class Intake {
  /** Its name for workers and `pick`. */
  readonly name: string;
  readonly #place: Place;
  #server: Bound;
  readonly #taker: Taker;
  readonly #peek: Settings['peek'];
  readonly #tellsAddress: boolean;
  /** While it accepts. */
  #feeding: Feeding | undefined;
  /** Another process serves there, and has the path. */
  #yields = false;
  /** Whether it was reported that no worker serves it. */
  isReported = false;
  /** It does not listen any more. */
  #ended = false;
  readonly #closed = new AbortController();
  readonly #looking = new Set<TcpConnection>();

  constructor(server: Bound, place: Place, taker: Taker, { peek, pick }: Settings) {
    setMaxListeners(0, this.#closed.signal); // each connection that is looked at is one
    this.#server = server;
    this.#place = place;
    this.#taker = taker;
    this.#peek = peek;
    this.#tellsAddress = typeof pick === 'function';
    this.name = server instanceof TcpServer ? nameOf(server) : (place.path ?? server.path);
  }

  get server(): Bound {
    return this.#server;
  }

  /** Binds its path anew if somebody has removed it. What waits at the socket of before is lost. */
  keepPath(): void {
    const before = this.#server;
    if (before instanceof TcpServer || before.isFound) return;
    const { accepts } = this;
    this.#server = this.#place.bind() as Bound; // at a path this waits for nothing
    this.pause();
    before.close();
    if (accepts) this.accept();
  }

  get accepts(): boolean {
    return this.#feeding !== undefined;
  }

  /** Connections that were accepted, and whose first bytes are waited for. */
  get looking(): number {
    return this.#looking.size;
  }

  /** Accepts from now on. */
  accept(): void {
    this.#yields = false;
    if (!this.#ended) this.#feeding ??= this.#feed();
  }

  /** There may be room again. */
  look(): void {
    this.#feeding?.look();
  }

  /** Accepts no more: what comes waits in the backlog. */
  pause(): void {
    this.#feeding?.end();
    this.#feeding = undefined;
  }

  /** Accepts no more, or not yet, because another process does: the listening socket stays, and so does its path. */
  yield(): void {
    this.pause();
    this.#yields = true;
  }

  /** The same for good. */
  release(): void {
    this.yield();
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#yields) this.server.detach().close();
    else this.server.close();
  }

  /**
   * Accepts no more. What waits in the backlog is refused by the system, what has sent nothing yet is closed, and any
   * other connection is taken with the bytes that have come.
   */
  close(): void {
    this.pause();
    this.#end();
    this.#closed.abort();
  }

  #feed(): Feeding {
    const room = (): number => (this.#looking.size < MOST_SILENT ? this.#taker.room(this.name) : 0);
    const fail = (error: Error): void => {
      this.#feeding = undefined;
      this.#taker.failed(error);
    };
    const { server } = this;
    if (server instanceof TcpServer) return server.feed(room, (fds, address) => this.#take(fds, address), fail);
    const take = (fd: OwnedFd): void => this.#taker.take([new Held(fd, this.name)]);
    return server.feed(room, take, fail, (error) => this.#taker.failed(error));
  }

  #take(fds: Int32Array, address: (index: number) => TcpAddress): void {
    const accepted: Held[] = [];
    const looked: TcpConnection[] = [];
    for (const [index, fd] of fds.entries()) {
      if (this.#peek !== undefined) looked.push(new TcpConnection(ownMade(fd), address(index)));
      else accepted.push(new Held(fd, this.name, this.#tellsAddress ? address(index).address : ''));
    }
    for (const connection of looked) void this.#lookAt(connection, this.#peek!);
    this.#taker.take(accepted);
  }

  async #lookAt(connection: TcpConnection, peek: NonNullable<Settings['peek']>): Promise<void> {
    this.#looking.add(connection);
    const { signal } = this.#closed;
    try {
      const first = await firstBytes(connection, peek, (error) => this.#taker.failed(error), signal);
      if (signal.aborted && first.length === 0) connection.close();
      else this.#taker.take([new Held(connection.fd, this.name, connection.remote.address, first)]);
    } catch (error) {
      connection.close(); // its client has gone
      if (!isOver(error)) this.#taker.failed(error as Error);
    } finally {
      this.#looking.delete(connection);
      this.#taker.changed();
    }
  }
}

const OVER = new Set(['ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ERR_FDPASSER_CLOSED', 'ERR_FDPASSER_NOT_OWNED']);

function isOver(error: unknown): boolean {
  return OVER.has((error as NodeJS.ErrnoException).code ?? '');
}

function nameOf(server: TcpServer): string {
  const { address, port, family } = server.address();
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}
