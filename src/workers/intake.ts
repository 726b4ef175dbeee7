import type { FdServer } from '../endpoint/server.js';
import type { TcpConnection } from '../endpoint/tcp-connection.js';
import { TcpServer } from '../endpoint/tcp-server.js';
import { firstBytes } from './first-bytes.js';
import type { Held } from './member.js';
import type { Settings } from './options.js';

/** What takes connections from listeners. */
export interface Taker {
  /** Resolves with how many it takes now, when that is not 0. */
  room(listener: string, signal: AbortSignal): Promise<number>;
  take(connections: readonly Held[]): void;
  changed(): void;
  failed(error: Error): void;
}

/** Connections of one call of the core. */
const MOST = 64;
/** The most connections that are peeked at and have not sent enough yet. Others wait in the backlog. */
const MOST_SILENT = 4096;

/** One listener of a supervisor. It accepts only what can be handed over. */
export class Intake {
  /** Its name for workers and `pick`. */
  readonly name: string;
  readonly server: FdServer | TcpServer;
  readonly #taker: Taker;
  readonly #peek: Settings['peek'];
  /** While it accepts. */
  #accepting: AbortController | undefined;
  /** It does not listen any more. */
  #ended = false;
  #closed = false;
  readonly #looking = new Set<TcpConnection>();
  #seen: (() => void) | undefined;
  #over: Promise<void> = Promise.resolve();

  constructor(server: FdServer | TcpServer, taker: Taker, peek: Settings['peek']) {
    this.server = server;
    this.#taker = taker;
    this.#peek = peek;
    this.name = this.server instanceof TcpServer ? nameOf(this.server) : this.server.path;
  }

  get accepts(): boolean {
    return this.#accepting !== undefined;
  }

  /** Connections that were accepted, and whose first bytes are waited for. */
  get looking(): number {
    return this.#looking.size;
  }

  /** Accepts from now on. */
  accept(): void {
    if (this.#accepting !== undefined || this.#ended) return;
    this.#accepting = new AbortController();
    this.#over = this.#run(this.#accepting.signal);
  }

  /** Accepts no more: what comes waits in the backlog. Resolves when what was accepted before has been handed on. */
  pause(): Promise<void> {
    this.#accepting?.abort();
    this.#accepting = undefined;
    return this.#over;
  }

  /** Another process has the listening socket: it stays, and so does its path. */
  release(): void {
    void this.pause();
    if (!this.#ended) this.server.detach().close();
    this.#ended = true;
  }

  /** Accepts no more. What waits in the backlog is refused by the system, and what has sent nothing yet is closed. */
  close(): Promise<void> {
    const paused = this.pause();
    this.#ended = this.#closed = true;
    this.server.close();
    for (const connection of this.#looking) connection.close();
    return paused;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const room = await this.#taker.room(this.name, signal);
        if (this.#looking.size >= MOST_SILENT) await new Promise<void>((resolve) => (this.#seen = resolve));
        await this.#accept(Math.min(room, MOST), signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#taker.failed(error as Error);
        return;
      }
    }
  }

  async #accept(most: number, signal: AbortSignal): Promise<void> {
    if (!(this.server instanceof TcpServer)) {
      const fd = await this.server.accept({ signal });
      this.#taker.take([{ fd, listener: this.name, address: '', first: undefined }]);
      return;
    }
    const connections = await this.server.acceptMany(most, { signal });
    if (this.#peek === undefined) this.#taker.take(connections.map((connection) => this.#held(connection)));
    else for (const connection of connections) void this.#lookAt(connection, this.#peek);
  }

  async #lookAt(connection: TcpConnection, peek: NonNullable<Settings['peek']>): Promise<void> {
    this.#looking.add(connection);
    try {
      const first = await firstBytes(connection, peek);
      if (!this.#closed) this.#taker.take([this.#held(connection, first)]);
    } catch (error) {
      connection.close(); // its client has gone, or the intake is closed
      if (!isOver(error)) this.#taker.failed(error as Error);
    } finally {
      this.#looking.delete(connection);
      this.#seen?.();
      this.#taker.changed();
    }
  }

  #held({ fd, remote }: TcpConnection, first?: Buffer): Held {
    return { fd, listener: this.name, address: remote.address, first };
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
