import { encodeTaken, type Hello } from './frames.js';

/** What a message counts against the window. */
export interface Weight {
  readonly size: number;
  readonly fds: number;
}

/** Counts what the application here has taken, and what the peer was told of it. */
export class Taken {
  readonly #limits: Hello;
  /** Whether the peer asks when it waits to be told. A peer that does not ask is told everything at once. */
  #isAsked = false;
  /** The peer has asked to be told when this many messages are taken, counted from the beginning. */
  #awaited = 0;
  /** Messages that were given to the application, which may not have run since, and their weight. */
  #handedOut = 0;
  #handedOutBytes = 0;
  #handedOutFds = 0;
  /** How many messages were taken since the beginning, and how many of these the peer was told of. */
  #count = 0;
  #told = 0;
  /** How many the peer will be told of after a while, whatever is sent until then. */
  #promised = 0;
  /** The weight of the messages that were taken and not told. */
  #bytes = 0;
  #fds = 0;

  /** `limits` say how much the peer sends before it waits to be told. */
  constructor(limits: Hello) {
    this.#limits = limits;
  }

  /** Whether the application has taken something that the peer does not know of. */
  get untold(): boolean {
    return this.#handedOut > 0 || this.#told !== this.#count;
  }

  /**
   * Whether the peer must be told now, and not only with the next message. That is so when it waits, or when half of
   * its window is used up.
   */
  get due(): boolean {
    if (this.#told === this.#count) return false;
    const waits = ((this.#awaited - this.#told) | 0) > 0; // modulo 2^32
    const { window, maxFds } = this.#limits;
    return !this.#isAsked || waits || 2 * this.#bytes >= window || 2 * this.#fds >= maxFds;
  }

  /** Says whether the peer asks from now on. */
  beAsked(asked: boolean): void {
    this.#isAsked = asked;
  }

  /** Makes the peer be told at once when the first `count` messages are taken. */
  await(count: number): void {
    this.#awaited = count;
  }

  /** Makes the peer be told at once of everything taken so far. It may have asked to be told of more. */
  awaitAll(): void {
    const taken = (this.#count + this.#handedOut) >>> 0;
    if (((taken - this.#awaited) | 0) > 0) this.#awaited = taken; // modulo 2^32
  }

  /** Promises to tell the peer of everything that the application was given. */
  promise(): void {
    this.#promised = (this.#count + this.#handedOut) >>> 0;
  }

  /** Whether it was not told yet of what was promised. */
  get overdue(): boolean {
    return ((this.#promised - this.#told) | 0) > 0; // modulo 2^32
  }

  /**
   * Notes that the application is given one more. Returns whether `count` must be called in another turn of the event
   * loop.
   */
  handOut({ size, fds }: Weight): boolean {
    this.#handedOutBytes += size;
    this.#handedOutFds += fds;
    return this.#handedOut++ === 0;
  }

  /**
   * Counts what was given to the application as taken, because it has run since: it runs after everything queued for
   * the tick. If the peer were told before that, and this process died in between, the peer would believe something
   * wrong.
   */
  count(): void {
    this.#count = (this.#count + this.#handedOut) >>> 0;
    this.#bytes += this.#handedOutBytes;
    this.#fds += this.#handedOutFds;
    this.#handedOut = this.#handedOutBytes = this.#handedOutFds = 0;
  }

  /** Returns the frame that tells the peer what it does not know yet. */
  tell(): Buffer | undefined {
    if (this.#told === this.#count) return undefined;
    this.#told = this.#count;
    this.#bytes = 0;
    this.#fds = 0;
    return encodeTaken(this.#count);
  }
}
