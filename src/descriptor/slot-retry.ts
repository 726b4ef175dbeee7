import { forgetSlot, whenSlotFreed, type SlotWaiter } from './table.js';

// Milliseconds. A full table often has room again at once, or else not for a while.
const FIRST = 50;
const LATER = 500;

/**
 * Tries again what found no free slot: when this library has closed a descriptor in this thread, and now and then by
 * itself.
 */
export class SlotRetry implements SlotWaiter {
  readonly #again: () => void;
  #timer: NodeJS.Timeout | undefined;
  #full = false;

  constructor(again: () => void) {
    this.#again = again;
  }

  /** Whether it is to try again. */
  get waits(): boolean {
    return this.#timer !== undefined;
  }

  /** There was no slot. Returns whether that is news. */
  full(): boolean {
    const news = !this.#full;
    this.#full = true;
    this.after(news ? FIRST : LATER);
    whenSlotFreed(this);
    return news;
  }

  /** There was room. Returns whether that is news. */
  room(): boolean {
    const news = this.#full;
    this.#full = false;
    return news;
  }

  /** It is to try again in so many milliseconds, for want of something else. */
  after(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.tryAgain(), milliseconds);
  }

  /** Whether the process lives on for it. */
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
