import { FramingError } from './frame-reader.js';
import type { Departing } from './departing.js';

/** The requests of this side that have departed and have no answer yet, by the number that each has on the wire. */
export class Requests {
  #next = 0;
  /** `undefined` stands for one that nobody waits for any more. There is none before the first request. */
  #open: Map<number, Departing | undefined> | undefined;
  #awaited = 0;

  /** For how many somebody waits. */
  get awaited(): number {
    return this.#awaited;
  }

  /** It departs, and gets a number that no other has. */
  depart(request: Departing): void {
    this.#open ??= new Map();
    while (this.#open.has(this.#next)) this.#next = (this.#next + 1) >>> 0;
    request.number = this.#next;
    this.#next = (this.#next + 1) >>> 0;
    this.#open.set(request.number, request);
    this.#awaited++;
  }

  /** It did not depart after all. */
  remove(request: Departing): void {
    if (this.#open!.get(request.number!) !== undefined) this.#awaited--;
    this.#open!.delete(request.number!);
  }

  /** Nobody waits for this one any more, but its number is taken until the answer comes. */
  abandon(request: Departing): void {
    this.#open!.set(request.number!, undefined);
    this.#awaited--;
  }

  /** The one with this number is answered; `undefined` when nobody waits for that any more. */
  answered(number: number): Departing | undefined {
    const request = this.#open?.get(number);
    // Not before it was sent whole, either.
    if (request?.state === 'aboard' || !this.#open?.delete(number))
      throw new FramingError(`it answered a request number ${number}, which it was not sent or has answered already`);
    if (request !== undefined) this.#awaited--;
    return request;
  }

  /** Nobody will answer those that were sent whole. */
  drop(error: Error): void {
    for (const request of this.#open?.values() ?? []) {
      if (request?.state !== 'sent') continue;
      this.remove(request);
      request.giveBack(error);
    }
  }
}
