import { encodeTaken } from './frames.js';

/** What the application here has taken, and what the peer was told of it. */
export class Taken {
  /** Messages that the application was given and may not have seen yet. */
  #handedOut = 0;
  /** Messages taken since the beginning, and what the peer was told of it. */
  #count = 0;
  #told = 0;

  /** Whether the application has taken something that the peer does not know of. */
  get untold(): boolean {
    return this.#handedOut > 0 || this.#told !== this.#count;
  }

  /** The application is given one more. Returns whether `count` has to be called, in another turn of the event loop. */
  handOut(): boolean {
    return this.#handedOut++ === 0;
  }

  /**
   * The application has run since: it runs after all that is queued for a tick. Told before that, a peer would believe
   * what is not so if this process died in between.
   */
  count(): void {
    this.#count = (this.#count + this.#handedOut) >>> 0;
    this.#handedOut = 0;
  }

  /** The frame that tells the peer what it does not know. */
  tell(): Buffer | undefined {
    if (this.#told === this.#count) return undefined;
    this.#told = this.#count;
    return encodeTaken(this.#count);
  }
}
