import type { Socket } from 'node:net';
import { depart, NotNow, type Carried, type Connection } from './carried.js';

/** How many are held still at once: with more, each would wait longer; with fewer, the successor would have to wait. */
const WINDOW = 16;

/** Connections on their way to another process. */
export class Departures {
  /** Connections that may still go. */
  readonly #left = new Map<Socket, Connection>();
  readonly #queue = new Set<Connection>();
  readonly #ready: Carried[] = [];
  #places = WINDOW;
  #wake = (): void => {};
  #over = false;
  /** More may come from another process. */
  #alone = false;

  constructor(alone: Promise<unknown>) {
    void alone.then(() => {
      this.#alone = true;
      this.#wake();
    });
  }

  get over(): boolean {
    return this.#over;
  }

  /** Whether this connection may still go. */
  has(socket: Socket): boolean {
    return !this.#over && this.#left.has(socket);
  }

  /** Adds a connection. It replaces the one that its socket was before, if its protocol has changed. */
  offer(connection: Connection): void {
    const { socket } = connection;
    if (this.#over || socket.destroyed || this.#left.get(socket) === connection) return;
    if (!this.#left.has(socket)) socket.once('close', () => this.#gone(socket));
    this.#left.set(socket, connection);
    const enqueue = (): void => this.#enqueue(connection);
    if (connection.whenCalm === undefined) enqueue();
    else connection.whenCalm(enqueue);
  }

  /** May be called once. */
  async *all(signal: AbortSignal): AsyncGenerator<Carried, void> {
    const stop = (): void => this.#stop();
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    try {
      while (!this.#over) {
        const carried = this.#ready.shift();
        if (carried !== undefined) yield carried;
        else if (this.#left.size === 0 && this.#alone) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.#stop();
    }
  }

  /** Connections that were not yielded stay here. */
  #stop(): void {
    this.#over = true;
    this.#queue.clear();
    for (const { kept } of this.#ready.splice(0)) kept();
    this.#wake();
  }

  #enqueue(connection: Connection): void {
    if (this.#over || this.#left.get(connection.socket) !== connection) return;
    this.#queue.add(connection);
    this.#start();
  }

  #start(): void {
    for (const connection of this.#queue) {
      if (this.#places === 0) return;
      this.#queue.delete(connection);
      this.#places--;
      void this.#depart(connection);
    }
  }

  async #depart(connection: Connection): Promise<void> {
    try {
      const carried = await depart(connection);
      this.#ready.push(this.#placed(carried, connection));
      if (this.#over) this.#stop();
    } catch (error) {
      this.#freePlace();
      if (isForNow(error as Error)) connection.whenIdle?.(() => this.#enqueue(connection));
      else this.#stays(connection);
    }
    this.#wake();
  }

  /** A connection occupies a place until it is known which process has it. */
  #placed(carried: Carried, { socket }: Connection): Carried {
    const settle =
      <T>(how: () => T) =>
      (): T => {
        const settled = how();
        this.#gone(socket);
        this.#freePlace();
        return settled;
      };
    return { ...carried, taken: settle(carried.taken), kept: settle(carried.kept) };
  }

  #freePlace(): void {
    this.#places++;
    this.#start();
  }

  #stays(connection: Connection): void {
    this.#gone(connection.socket, connection);
    connection.stays?.();
  }

  #gone(socket: Socket, connection = this.#left.get(socket)): void {
    if (this.#left.get(socket) !== connection) return;
    this.#left.delete(socket);
    this.#wake();
  }
}

function isForNow(error: NodeJS.ErrnoException): boolean {
  return error instanceof NotNow || error.code === 'ERR_FDPASSER_HTTP_BUSY';
}
