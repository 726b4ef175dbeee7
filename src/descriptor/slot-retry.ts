import { forgetSlot, whenSlotFreed, type SlotWaiter } from './table.js';

// Milliseconds. A full table often has room again soon, or else not for some time.
const FIRST = 50;
const LATER = 500;

/**
 * Repeats what found no free slot. It does so when this library has closed a descriptor in this thread, and from time
 * to time.
 */
export class SlotRetry implements SlotWaiter {
  readonly #again: () => void;
  #timer: NodeJS.Timeout | undefined;
  #full = false;
  /** Whether it was found that there can never be as many free slots as are needed. */
  hopeless = false;
  /** When whoever retries next looks at what takes the slots. */
  lookAgain = 0;

  constructor(again: () => void) {
    this.#again = again;
  }

  /** Whether a repetition is due. */
  get waits(): boolean {
    return this.#timer !== undefined;
  }

  /** Says that there was no slot. Returns whether that is new. */
  full(): boolean {
    const news = !this.#full;
    this.#full = true;
    this.after(news ? FIRST : LATER);
    whenSlotFreed(this);
    return news;
  }

  /** Says that there was room. Returns whether that is new. */
  room(): boolean {
    const news = this.#full;
    this.#full = false;
    return news;
  }

  /** Makes it repeat after so many milliseconds, for another reason than a full table. */
  after(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.tryAgain(), milliseconds);
  }

  /** Sets whether it keeps the process alive. */
  keepAlive(flag: boolean): void {
    if (flag) this.#timer?.ref();
    else this.#timer?.unref();
  }

  tryAgain(): void {
    if (!this.waits) return;
    this.stop();
    this.#again();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    forgetSlot(this);
  }
}
