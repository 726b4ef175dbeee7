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

/** A worker, as it is at this moment. */
export interface WorkerState {
  /** 0 and up: that of the worker which it replaces. */
  slot: number;
  pid: number | undefined;
  state: 'starting' | 'ready' | 'retiring' | 'gone';
  /** What `'busy'` goes by: open connections, or what the worker says; and what is on its way to it. */
  load: number;
}

export interface SupervisorEvents {
  /** A worker was started, or is ready. */
  worker: [WorkerState];
  /** A worker has ended. */
  exit: [WorkerState, Exit];
  /** A worker has ended before it took a connection, which another one gets. */
  'given-back': [WorkerState];
  /** Something went wrong that nobody waits for: a `pick` that throws, a worker that ends again and again. */
  error: [Error];
}

/** Connections here for each worker, accepted and not confirmed. More wait in the kernel's backlog. */
const IN_HAND = 64;

/**
 * Accepts connections and hands each to one of its workers. A connection is the supervisor's until the worker has
 * confirmed it, so that a worker that dies or stops strands nobody.
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
   * Listens, as `listen` of `fdpasser` does: at a port, or at a path. Several are possible. Connections are accepted as
   * workers can take them. Resolves with the address, or the path; rejects as `listen` throws, and with
   * `ERR_FDPASSER_CLOSED`.
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
   * Replaces the workers one after another: each goes when the one that follows is ready. Resolves when all have been
   * replaced. Rejects with `ERR_FDPASSER_WORKER` when one does not get ready; that one's predecessor serves on, and so
   * do the workers whose turn had not come. One reload at a time: a second waits for the first.
   */
  reload(): Promise<void> {
    const reload = this.#reloading.then(async () => {
      this.#checkOpen();
      for (const slot of this.#slots) await slot.replace();
    });
    this.#reloading = reload.catch(() => {});
    return reload;
  }

  /** Has so many workers from now on. Those that are too many retire. */
  scale(count: number): void {
    this.#checkOpen();
    checkCount('count', count);
    this.#grow(count);
    for (const slot of this.#slots.splice(count)) void slot.remove();
    this.#changed();
  }

  /**
   * Stops accepting, hands over what was accepted, and lets the workers end: resolves when they have, at the latest
   * when their time to retire is over. Closing again resolves with that.
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
    this.#changed(); // whoever waits for room waits no more
    await Promise.all(this.#intakes.map(({ ended }) => ended));
    while (this.#inHand > 0 && this.#slots.some(({ current }) => current !== undefined)) await this.#change();
    await Promise.all(this.#slots.map((slot) => slot.remove()));
    this.#changed(); // what nobody can take any more is closed
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

  /** Something about the workers has changed, or about what is in hand. */
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
 * Starts workers, and returns what hands them connections. `file` is a module that calls `worker()`; a relative one
 * begins at the working directory. Throws `ENOENT` when it is not there, and argument errors.
 */
export function supervise(file: string | URL, options: SuperviseOptions = {}): Supervisor {
  return new Supervisor(file, options);
}

function stateOf({ slot, pid, state, load }: Member): WorkerState {
  return { slot, pid, state, load };
}
