import type { Socket } from 'node:net';
import { depart, NotNow, type Carried, type Connection } from './carried.js';
import { onceGone } from './gone.js';

/** How many are held still at once: with more, each would wait longer; with fewer, the successor would have to wait. */
const WINDOW = 32;

/**
 * The successor's code is not compiled yet: its first answers take long, and clients would wait for each other there.
 * So there is one place at first, and one more after so many moves.
 */
const CONNECTIONS_A_PLACE = 8;

/** As long as there are fewer places, each rests after a move. */
const FEW = 8;
/** Milliseconds. */
const REST = 10;

/** How many milliseconds a connection has a place before it can go: one whose client does not read may never. */
const PATIENCE = 50;

/** What a connection occupies while it is held still. */
interface Place {
  /** For another connection, now or after a rest. Does nothing when it is called again. */
  free(rests?: boolean): void;
}

/** Connections on their way to another process. */
export class Departures {
  /** Connections that may still go. */
  readonly #left = new Map<Socket, Connection>();
  readonly #queue = new Set<Connection>();
  /** Connections that are tried now, and whether each was to be tried again meanwhile. */
  readonly #tried = new Map<Connection, boolean>();
  readonly #ready: Carried[] = [];
  #places = 1;
  #starting = false;
  #window = 1;
  #taken = 0;
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
    if (!this.#left.has(socket)) onceGone(socket, () => this.#gone(socket));
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
    if (this.#tried.has(connection)) this.#tried.set(connection, true);
    else {
      this.#queue.add(connection);
      this.#start();
    }
  }

  #start(): void {
    if (this.#starting) return; // the loop below goes on with those
    this.#starting = true;
    try {
      for (const connection of this.#queue) {
        if (this.#places === 0) return;
        this.#queue.delete(connection);
        this.#try(connection, this.#takePlace());
      }
    } finally {
      this.#starting = false;
    }
  }

  #try(connection: Connection, place: Place): void {
    try {
      const carried = depart(connection);
      if (carried instanceof Promise) void this.#await(carried, connection, place);
      else this.#departed(carried, connection, place);
    } catch (error) {
      this.#refused(error as Error, false, connection, place);
    }
  }

  async #await(leaving: Promise<Carried>, connection: Connection, place: Place): Promise<void> {
    const late = setTimeout(() => place.free(), PATIENCE);
    this.#tried.set(connection, false);
    try {
      const carried = await leaving;
      this.#tried.delete(connection);
      this.#departed(carried, connection, place);
    } catch (error) {
      const again = this.#tried.get(connection)!;
      this.#tried.delete(connection);
      this.#refused(error as Error, again, connection, place);
    }
    clearTimeout(late);
  }

  #departed(carried: Carried, connection: Connection, place: Place): void {
    this.#ready.push(this.#placed(carried, connection, place));
    if (this.#over) this.#stop();
    this.#wake();
  }

  #refused(error: Error, again: boolean, connection: Connection, place: Place): void {
    place.free();
    if (!isForNow(error) || connection.whenIdle === undefined) this.#stays(connection);
    else if (again) this.#enqueue(connection);
    else connection.whenIdle(() => this.#enqueue(connection));
    this.#wake();
  }

  /** A connection occupies a place until it is known which process has it, or until it is late. */
  #placed(carried: Carried, { socket }: Connection, place: Place): Carried {
    const taken = (): Buffer | Promise<Buffer> => {
      this.#widen();
      const late = carried.taken();
      this.#gone(socket);
      place.free(this.#window < FEW);
      return late;
    };
    const kept = (): void => {
      carried.kept();
      this.#gone(socket);
      place.free();
    };
    return { ...carried, taken, kept };
  }

  #takePlace(): Place {
    let isFree = false;
    this.#places--;
    return {
      free: (rests = false) => {
        if (isFree) return;
        isFree = true;
        if (rests) setTimeout(() => this.#addPlace(), REST);
        else this.#addPlace();
      },
    };
  }

  #addPlace(): void {
    this.#places++;
    this.#start();
  }

  #widen(): void {
    if (this.#window === WINDOW || ++this.#taken % CONNECTIONS_A_PLACE > 0) return;
    this.#window++;
    this.#places++;
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
