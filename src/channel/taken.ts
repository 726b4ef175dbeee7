import { encodeTaken, type Hello } from './frames.js';

/** What a message counts against the window. */
export interface Weight {
  readonly size: number;
  readonly fds: number;
}

/** What the application here has taken, and what the peer was told of it. */
export class Taken {
  readonly #limits: Hello;
  /** Whether the peer asks where it waits for word. To one that does not, everything is told at once. */
  #isAsked = false;
  /** It has asked for word of so many messages, counted from the beginning. */
  #awaited = 0;
  /** Messages that the application was given and may not have seen yet, and what they weigh. */
  #handedOut = 0;
  #handedOutBytes = 0;
  #handedOutFds = 0;
  /** Messages taken since the beginning, and what the peer was told of it. */
  #count = 0;
  #told = 0;
  /** What those weigh that were taken and not told. */
  #bytes = 0;
  #fds = 0;

  /** `limits`: what the peer sends before it waits for word. */
  constructor(limits: Hello) {
    this.#limits = limits;
  }

  /** Whether the application has taken something that the peer does not know of. */
  get untold(): boolean {
    return this.#handedOut > 0 || this.#told !== this.#count;
  }

  /** Whether the peer is to hear of it now, and not with the next message. Before it has no room for that, it is. */
  get due(): boolean {
    if (this.#told === this.#count) return false;
    const waits = ((this.#awaited - this.#told) | 0) > 0; // modulo 2^32
    const { window, maxFds } = this.#limits;
    return !this.#isAsked || waits || 2 * this.#bytes >= window || 2 * this.#fds >= maxFds;
  }

  /** Whether the peer asks from now on. */
  beAsked(asked: boolean): void {
    this.#isAsked = asked;
  }

  /** The peer is to hear at once of the first so many messages. */
  await(count: number): void {
    this.#awaited = count;
  }

  /** The peer is to hear at once of what was taken so far. */
  awaitAll(): void {
    this.#awaited = (this.#count + this.#handedOut) >>> 0;
  }

  /** The application is given one more. Returns whether `count` has to be called, in another turn of the event loop. */
  handOut({ size, fds }: Weight): boolean {
    this.#handedOutBytes += size;
    this.#handedOutFds += fds;
    return this.#handedOut++ === 0;
  }

  /**
   * The application has run since: it runs after all that is queued for a tick. Told before that, a peer would believe
   * what is not so if this process died in between.
   */
  count(): void {
    this.#count = (this.#count + this.#handedOut) >>> 0;
    this.#bytes += this.#handedOutBytes;
    this.#fds += this.#handedOutFds;
    this.#handedOut = this.#handedOutBytes = this.#handedOutFds = 0;
  }

  /** The frame that tells the peer what it does not know. */
  tell(): Buffer | undefined {
    if (this.#told === this.#count) return undefined;
    this.#told = this.#count;
    this.#bytes = 0;
    this.#fds = 0;
    return encodeTaken(this.#count);
  }
}
