import { constants } from 'node:os';
import { attempt } from '../common/attempt.js';
import { Queue, Queued } from '../common/queue.js';
import type { Custody } from '../descriptor/custody.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { ownership } from '../descriptor/ownership.js';
import { warnFull } from '../descriptor/shortage.js';
import { SlotRetry } from '../descriptor/slot-retry.js';
import { closed, systemError } from '../errors.js';
import { READABLE, STOPPED, type Watch } from '../native/addon.js';
import { addon } from '../native/load.js';

const { EAGAIN, EBADF, ECONNABORTED, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM } = constants.errno;
const FULL = new Set<number>([EMFILE, ENFILE]);
const NO_ROOM = new Set<number>([...FULL, ENOBUFS, ENOMEM]);

/** The most calls in one turn of the event loop, because clients may connect faster than this process accepts. */
const ROUNDS = 16;

/** A call that waits for connections. */
export class Accepter<T> extends Queued {
  constructor(
    readonly deliver: (value: T) => void,
    readonly fail: (error: Error) => void,
    /** The most connections that it takes. */
    readonly most = 1,
  ) {
    super();
  }
}

/** Takes connections as they come, and gives them to trusted processes only, which will not make their close wait. */
export class Feed<T> extends Queued {
  constructor(
    readonly deliver: (value: T) => void,
    readonly fail: (error: Error) => void,
    /** How many it takes now. */
    readonly room: () => number,
    /** A connection was refused, because of this error. */
    readonly refused: (error: Error) => void = () => {},
  ) {
    super();
  }

  get most(): number {
    return this.room();
  }
}

export interface Feeding {
  /** There may be room again. */
  look(): void;
  /** It takes nothing more. */
  end(): void;
}

/**
 * A listening socket. It accepts while somebody waits for a connection. Other connections stay in the kernel's backlog,
 * as do all while this process has no slot for them.
 */
export class Listening<T> {
  readonly socket: OwnedFd;
  /** Its name in messages. */
  readonly #name: string;
  /**
   * Makes one attempt to accept at most so many, for the one who has waited longest. Returns a negative errno if the
   * system call failed, else how many were accepted.
   */
  readonly #attempt: (listener: number, most: number, isFeed: boolean) => number;
  readonly #waiting = new Queue<Accepter<T> | Feed<T>>();
  #watch: Watch | undefined;
  #watching = false;
  readonly #retry = new SlotRetry(() => this.#accept());

  /** If it throws, the custody of the socket has not ended. */
  constructor(name: string, socket: Custody, attempt: (listener: number, most: number, isFeed: boolean) => number) {
    this.#name = name;
    this.#attempt = attempt;
    const watch = addon.watch(socket.fd, this);
    if (typeof watch === 'number') throw systemError(watch, 'epoll_ctl');
    try {
      this.socket = socket.own();
    } catch (error) {
      addon.unwatch(watch);
      throw error;
    }
    this.#watch = watch;
  }

  get closed(): boolean {
    return this.#watch === undefined;
  }

  /** Throws `ERR_FDPASSER_CLOSED` if it is closed. */
  checkOpen(): void {
    if (this.closed) throw closed('server', 'close() was called');
  }

  /**
   * Asks for the next connections. Returns a function that takes the request back, and fails it with an error, unless
   * it was met already.
   */
  wait(accepter: Accepter<T>): (error: Error) => void {
    this.checkOpen();
    this.#waiting.push(accepter);
    this.#settle();
    return (error) => {
      if (!this.#waiting.remove(accepter)) return;
      accepter.fail(error);
      this.#settle();
    };
  }

  /** Gives connections to whoever has asked before, and then to `feed`. */
  feed(feed: Feed<T>): Feeding {
    this.checkOpen();
    this.#waiting.push(feed);
    this.#settle();
    return {
      look: () => this.#settle(),
      end: () => {
        if (this.#waiting.remove(feed)) this.#settle();
      },
    };
  }

  /** Delivers to the one who has waited longest. Returns false if nobody waits any more. */
  deliver(value: T): boolean {
    const first = this.#waiting.first;
    if (first instanceof Accepter) this.#waiting.shift();
    first?.deliver(value);
    return first !== undefined;
  }

  /** A connection was refused because of an error. A feed goes on, and a call fails. */
  refuse(error: Error): void {
    const { first } = this.#waiting;
    if (first instanceof Feed) first.refused(error);
    else this.fail(error);
  }

  /** Fails the one who has waited longest. */
  fail(error: Error): void {
    this.#waiting.shift()?.fail(error);
  }

  /** Stops watching, and refuses all who wait. Returns false if it was stopped already. */
  stop(): boolean {
    if (this.#watch === undefined) return false;
    addon.unwatch(this.#watch);
    this.#watch = undefined;
    this.#retry.stop();
    this.#failAll(closed('server', 'close() was called'));
    return true;
  }

  close(): void {
    attempt(() => this.socket.close());
  }

  #failAll(error: Error): void {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) next.fail(error);
  }

  /** Called by the core when there may be connections. */
  ready(events: number): void {
    if (events & STOPPED) this.#watching = false;
    this.#accept();
  }

  #accept(): void {
    for (let round = 0; round < ROUNDS && !this.closed; round++) {
      const first = this.#waiting.first;
      const most = first?.most ?? 0;
      if (most === 0) break;
      const isFeed = first instanceof Feed;
      const result = this.#attempt(ownership.number(this.socket), most, isFeed);
      if (result >= 0) this.#retry.room();
      if (isFeed && result >= 0 && result < most) break; // the next turn of the event loop tells whether there are more
      if (result >= 0) continue;
      if (result === -EAGAIN) break;
      else if (result !== -ECONNABORTED) {
        this.#failed(result);
        break;
      }
    }
    this.#settle();
  }

  #failed(result: number): void {
    if (!NO_ROOM.has(-result)) {
      const shut = result === -EINVAL ? { advice: 'Somebody who shares the socket has shut it down' } : {};
      this.fail(systemError(result, 'accept', { path: this.#name, ...shut }));
      return;
    }
    if (FULL.has(-result)) warnFull(`A connection to '${this.#name.replaceAll('\0', '@')}'`, { least: 1, most: 1 });
    this.#retry.full();
  }

  #settle(): void {
    if (this.#watch === undefined) return;
    const watching = (this.#waiting.first?.most ?? 0) > 0 && !this.#retry.waits;
    if (watching === this.#watching) return;
    // libuv aborts if it is told to watch what cannot be watched, and somebody else may have closed the socket.
    const result = watching ? addon.listening(ownership.number(this.socket)) : 1;
    if (result !== 1 || addon.watchFor(this.#watch, watching ? READABLE : 0) < 0) {
      const advice = 'Something else has closed the socket';
      this.#failAll(systemError(-EBADF, 'accept', { path: this.#name, advice }));
      return;
    }
    addon.keepAlive(this.#watch, watching);
    this.#watching = watching;
  }
}
