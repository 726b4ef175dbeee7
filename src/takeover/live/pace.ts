/** An answer may take so many milliseconds at least, and at most, before a message is taken to need none. */
const LEAST = 20;
const MOST = 500;

/** How fast a program answers, as far as the WebSockets of a server tell. */
export class Pace {
  #slowest = 0;

  note(milliseconds: number): void {
    this.#slowest = Math.max(this.#slowest, milliseconds);
  }

  /** How many milliseconds an answer may take. */
  get patience(): number {
    return Math.min(Math.max(2 * this.#slowest, LEAST), MOST);
  }
}

/** What one client has asked and the program has not answered. */
export class Unanswered {
  readonly #pace: Pace;
  #count = 0;
  /** When the one was read that has waited for the longest, as far as is known; and the last. */
  #firstAt = 0;
  #lastAt = -Infinity;

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  /** Whether all is answered. */
  get none(): boolean {
    return this.#count === 0;
  }

  /** How many milliseconds an answer may come yet; 0 when none is due. */
  get left(): number {
    return this.none ? 0 : Math.max(0, this.#lastAt + this.#pace.patience - performance.now());
  }

  asked(count: number): void {
    if (count === 0) return;
    this.#lastAt = performance.now();
    if (this.none) this.#firstAt = this.#lastAt;
    this.#count += count;
  }

  answered(count: number): void {
    if (count === 0 || this.none) return;
    const now = performance.now();
    this.#pace.note(now - this.#firstAt);
    this.#firstAt = now;
    this.#count = Math.max(0, this.#count - count);
  }
}
