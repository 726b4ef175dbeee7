import { EventEmitter } from 'node:events';
import { invalidReturn } from '../common/arguments.js';
import { closed } from '../errors.js';
import { listen, type ListenOptions, type TcpListenOptions } from '../endpoint/listen.js';
import type { TcpAddress } from '../endpoint/tcp-address.js';
import { TcpServer } from '../endpoint/tcp-server.js';
import { Intake } from './intake.js';
import type { Exit, Held, Member } from './member.js';
import { checkCount, settingsOf, type Settings, type SuperviseOptions } from './options.js';
import { leastBusy, sameFor } from './pick.js';
import { Slot } from './slot.js';

/** The state of a worker at this moment. */
export interface WorkerState {
  /** 0 and up. A worker has the slot of the one that it replaces. */
  slot: number;
  pid: number | undefined;
  state: 'starting' | 'ready' | 'retiring' | 'gone';
  /** The measure for `'busy'`: open connections, or what the worker says, plus connections on their way to it. */
  load: number;
}

export interface SupervisorEvents {
  /** A worker was started, or is ready. */
  worker: [WorkerState];
  /** A worker has ended. */
  exit: [WorkerState, Exit];
  /** A worker has ended before it took a connection. Another worker gets the connection. */
  'given-back': [WorkerState];
  /** An error that no promise reports: a `pick` that throws, a worker that keeps ending. */
  error: [Error];
}

/** How many accepted connections may be unconfirmed for each worker. Others wait in the kernel's backlog. */
const IN_HAND = 64;

/**
 * Accepts connections and hands each to one of its workers. The supervisor owns a connection until the worker has
 * confirmed it, so that none is lost when a worker dies or stops.
 */
export class Supervisor extends EventEmitter<SupervisorEvents> {
  readonly #settings: Settings;
  readonly #slots: Slot[] = [];
  readonly #intakes: Intake[] = [];
  #turn = 0;
  #inHand = 0;
  readonly #changes = new Set<() => void>();
  #reloading: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(file: string | URL, options: SuperviseOptions) {
    super();
    this.#settings = settingsOf(file, options);
    this.#grow(this.#settings.count);
  }

  /** All workers that have not ended, and are not retiring. */
  get list(): WorkerState[] {
    return this.#slots.flatMap(({ members }) => members).map(stateOf);
  }

  /**
   * Listens, as `listen` of `fdpasser` does: at a port, or at a path. It can be called several times. Connections are
   * accepted as workers can take them. Resolves with the address, or the path. Rejects with what `listen` throws, and
   * with `ERR_FDPASSER_CLOSED`.
   */
  listen(options: TcpListenOptions): Promise<TcpAddress>;
  listen(path: string, options?: ListenOptions): Promise<string>;
  async listen(at: string | TcpListenOptions, options?: ListenOptions): Promise<TcpAddress | string> {
    this.#checkOpen();
    const server = typeof at === 'string' ? listen(at, options) : listen(at);
    const taker = {
      room: (signal: AbortSignal) => this.#room(signal),
      take: (connection: Held) => void this.#place(connection),
      failed: (error: Error) => this.#tell(error),
    };
    this.#intakes.push(new Intake(server, taker, this.#settings.peek));
    return server instanceof TcpServer ? server.address() : server.path;
  }

  /**
   * Replaces the workers one after another: each retires when its successor is ready. Resolves when all have been
   * replaced. Rejects with `ERR_FDPASSER_WORKER` when a successor does not get ready; its predecessor then serves on,
   * and so do the workers that were not yet replaced. A second reload waits for the first.
   */
  reload(): Promise<void> {
    const reload = this.#reloading.then(async () => {
      this.#checkOpen();
      for (const slot of this.#slots) await slot.replace();
    });
    this.#reloading = reload.catch(() => {});
    return reload;
  }

  /** Changes the number of workers. Surplus workers retire. */
  scale(count: number): void {
    this.#checkOpen();
    checkCount('count', count);
    this.#grow(count);
    for (const slot of this.#slots.splice(count)) void slot.remove();
    this.#changed();
  }

  /**
   * Stops accepting, hands over what was accepted, and lets the workers end. Resolves when they have ended, at the
   * latest when their time to retire is over. Another call returns the same promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    for (const intake of this.#intakes) intake.close();
    this.#changed(); // callers that wait for room stop waiting
    await Promise.all(this.#intakes.map(({ ended }) => ended));
    while (this.#inHand > 0 && this.#slots.some(({ current }) => current !== undefined)) await this.#change();
    await Promise.all(this.#slots.map((slot) => slot.remove()));
    this.#changed(); // connections that no worker can take any more are closed
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw closed('supervisor', 'close() was called');
  }

  #grow(count: number): void {
    while (this.#slots.length < count)
      this.#slots.push(
        new Slot(this.#slots.length, this.#settings, {
          started: (member) => queueMicrotask(() => this.emit('worker', stateOf(member))),
          ready: (member) => this.emit('worker', stateOf(member)),
          changed: () => this.#changed(),
          gone: (member, exit) => {
            this.emit('exit', stateOf(member), exit);
            this.#changed();
          },
          failed: (error) => this.#tell(error),
        }),
      );
  }

  /** Hands a connection to one worker after another, until one has taken it. */
  async #place(connection: Held): Promise<void> {
    this.#inHand++;
    try {
      for (;;) {
        const able = this.#able();
        if (able.length === 0) {
          if (this.#isOver) return connection.fd.close();
          await this.#change();
          continue;
        }
        const member = this.#pick(connection, able);
        if (await member.give(connection)) return;
        this.emit('given-back', stateOf(member));
      }
    } catch (error) {
      connection.fd.close();
      this.#tell(error as Error);
    } finally {
      this.#inHand--;
      this.#changed();
    }
  }

  get #isOver(): boolean {
    return this.#closing !== undefined && this.#slots.every(({ members }) => members.length === 0);
  }

  #able(): Member[] {
    return this.#slots.map(({ current }) => current).filter((member) => member?.isAble === true) as Member[];
  }

  #pick(connection: Held, able: readonly Member[]): Member {
    const { pick } = this.#settings;
    if (pick === 'turn') return able[this.#turn++ % able.length]!;
    if (pick === 'busy') return leastBusy(able);
    const { listener, remote, first } = connection;
    try {
      const key: unknown = pick({
        address: remote?.address ?? '',
        listener,
        ...(first === undefined ? {} : { first }),
      });
      if (typeof key === 'string') return sameFor(key, able);
      throw invalidReturn('options.pick', 'a string', key);
    } catch (error) {
      this.#tell(error as Error);
      return leastBusy(able);
    }
  }

  async #room(signal: AbortSignal): Promise<number> {
    for (;;) {
      signal.throwIfAborted();
      const room = IN_HAND * this.#slots.length - this.#inHand;
      if (room > 0 && this.#able().length > 0) return room;
      await this.#change();
    }
  }

  /** Resolves when something changes about the workers, or about the connections in hand. */
  #change(): Promise<void> {
    return new Promise((resolve) => this.#changes.add(resolve));
  }

  #changed(): void {
    const waiting = [...this.#changes];
    this.#changes.clear();
    for (const resolve of waiting) resolve();
  }

  #tell(error: Error): void {
    if (this.listenerCount('error') > 0) this.emit('error', error);
    else process.emitWarning(error);
  }
}

/**
 * Starts workers, and returns their supervisor. `file` is a module that calls `worker()`; a relative path is resolved
 * from the working directory. Throws `ENOENT` when the file does not exist, and argument errors.
 */
export function supervise(file: string | URL, options: SuperviseOptions = {}): Supervisor {
  return new Supervisor(file, options);
}

function stateOf({ slot, pid, state, load }: Member): WorkerState {
  return { slot, pid, state, load };
}
