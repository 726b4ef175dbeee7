/**
 * How long the peer may take to say its first word. It stands still while what the peer sent finds no room here: that may be
 * the word. What comes then may be something else, and so it goes on.
 */
export class HelloClock {
  readonly #late: () => void;
  #left: number;
  #began = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(milliseconds: number, late: () => void) {
    this.#left = milliseconds;
    this.#late = late;
    this.goOn();
  }

  goOn(): void {
    if (this.#timer !== undefined || this.#left === Infinity) return;
    this.#began = Date.now();
    // A busy loop comes to its timers before it looks at what has long been there.
    this.#timer = setTimeout(() => setImmediate(() => this.#ring()), this.#left).unref();
  }

  standStill(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#left = Math.max(1, this.#left - (Date.now() - this.#began));
  }

  /** It was said, or nobody waits for it any more. */
  stop(): void {
    this.standStill();
    this.#left = Infinity;
  }

  /** Not if what was long there has been found meanwhile. */
  #ring(): void {
    if (this.#timer !== undefined) this.#late();
  }
}
