/**
 * Limits how long the peer may take to send its hello. The clock stands still while what the peer sent finds no free
 * slot here, because that may be the hello. After that it goes on, because it may be something else.
 */
export class HelloClock {
  readonly #look: () => void;
  readonly #late: () => void;
  #left: number;
  #began = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * When the time is over, `look` is called, which receives what is there and may stop the clock. If it does not,
   * `late` is called.
   */
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

  /** To be called when the hello has come, or nobody waits for it any more. */
  stop(): void {
    this.standStill();
    this.#left = Infinity;
  }

  /**
   * Looks before it says that the hello is late: a busy event loop calls timers before it receives what has been there
   * for long.
   */
  #ring(): void {
    this.#look();
    if (this.#timer !== undefined) this.#late();
  }
}
