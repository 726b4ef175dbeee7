/**
 * How long the peer may take to say its first word. It stands still while what the peer sent finds no room here: that
 * may be the word. What comes then may be something else, and so it goes on.
 */
export class HelloClock {
  readonly #look: () => void;
  readonly #late: () => void;
  #left: number;
  #began = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `look` receives what is there, which may stop the clock. If it does not, `late` is called. */
  constructor(milliseconds: number, look: () => void, late: () => void) {
    this.#left = milliseconds;
    this.#look = look;
    this.#late = late;
    this.goOn();
  }

  goOn(): void {
    if (this.#timer !== undefined || this.#left === Infinity) return;
    this.#began = Date.now();
    this.#timer = setTimeout(() => this.#ring(), this.#left).unref();
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

  /** A busy event loop comes to its timers before it receives what has long been there. */
  #ring(): void {
    this.#look();
    if (this.#timer !== undefined) this.#late();
  }
}
