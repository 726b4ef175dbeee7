import type { FdServer } from '../endpoint/server.js';
import type { TcpConnection } from '../endpoint/tcp-connection.js';
import { TcpServer } from '../endpoint/tcp-server.js';
import { firstBytes } from './first-bytes.js';
import type { Held } from './member.js';
import type { Settings } from './options.js';

/** What takes connections from listeners. */
export interface Taker {
  /** Resolves with how many it takes now, when that is not 0. */
  room(signal: AbortSignal): Promise<number>;
  take(connection: Held): void;
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
  readonly #server: FdServer | TcpServer;
  readonly #taker: Taker;
  readonly #peek: Settings['peek'];
  readonly #end = new AbortController();
  readonly #looking = new Set<TcpConnection>();
  #seen: (() => void) | undefined;
  readonly ended: Promise<void>;

  constructor(server: FdServer | TcpServer, taker: Taker, peek: Settings['peek']) {
    this.#server = server;
    this.#taker = taker;
    this.#peek = peek;
    this.name = this.#server instanceof TcpServer ? nameOf(this.#server) : this.#server.path;
    this.ended = this.#run();
  }

  /**
   * Stops accepting. The system refuses connections in the backlog. Connections that have not sent enough are closed.
   */
  close(): void {
    this.#end.abort();
    this.#server.close();
    for (const connection of this.#looking) connection.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        const room = await this.#taker.room(signal);
        if (this.#looking.size >= MOST_SILENT) await new Promise<void>((resolve) => (this.#seen = resolve));
        await this.#accept(Math.min(room, MOST));
      } catch (error) {
        if (signal.aborted) return;
        this.#taker.failed(error as Error);
        return;
      }
    }
  }

  async #accept(most: number): Promise<void> {
    const { signal } = this.#end;
    if (!(this.#server instanceof TcpServer)) {
      const fd = await this.#server.accept({ signal });
      this.#taker.take({ fd, listener: this.name, remote: undefined, first: undefined });
      return;
    }
    for (const connection of await this.#server.acceptMany(most, { signal })) {
      if (this.#peek === undefined) this.#take(connection, undefined);
      else void this.#lookAt(connection, this.#peek);
    }
  }

  async #lookAt(connection: TcpConnection, peek: NonNullable<Settings['peek']>): Promise<void> {
    this.#looking.add(connection);
    try {
      const first = await firstBytes(connection, peek);
      if (!this.#end.signal.aborted) this.#take(connection, first);
    } catch (error) {
      connection.close(); // its client has gone, or the intake is closed
      if (!isOver(error)) this.#taker.failed(error as Error);
    } finally {
      this.#looking.delete(connection);
      this.#seen?.();
    }
  }

  #take({ fd, remote }: TcpConnection, first: Buffer | undefined): void {
    this.#taker.take({ fd, listener: this.name, remote, first });
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
