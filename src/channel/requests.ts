import { FramingError } from './frame-reader.js';
import type { Departing } from './departing.js';

/** The requests from this side that have departed and have no answer yet, by their number on the wire. */
export class Requests {
  /**
   * What all share as long as they have sent none, because many channels never do. Whoever sends the first one replaces
   * it by what `own` returns.
   */
  static readonly none = new Requests();

  /** These, or new ones instead of `none`. */
  own(): Requests {
    return this === Requests.none ? new Requests() : this;
  }

  #next = 0;
  /** A value of `undefined` stands for a request for whose answer nobody waits any more. */
  readonly #open = new Map<number, Departing | undefined>();
  #awaited = 0;

  /** How many of them have somebody waiting. */
  get awaited(): number {
    return this.#awaited;
  }

  /** Gives a departing request a number that no other one has. */
  depart(request: Departing): void {
    while (this.#open.has(this.#next)) this.#next = (this.#next + 1) >>> 0;
    request.number = this.#next;
    this.#next = (this.#next + 1) >>> 0;
    this.#open.set(request.number, request);
    this.#awaited++;
  }

  /** Removes a request that did not depart after all. */
  remove(request: Departing): void {
    if (this.#open.get(request.number!) !== undefined) this.#awaited--;
    this.#open.delete(request.number!);
  }

  /** Notes that nobody waits for this request any more. Its number stays in use until the answer comes. */
  abandon(request: Departing): void {
    this.#open.set(request.number!, undefined);
    this.#awaited--;
  }

  /**
   * Notes that the request with this number has its answer. Returns it, or `undefined` if nobody waits for it any more.
   */
  answered(number: number): Departing | undefined {
    const request = this.#open.get(number);
    // A request that was not sent completely cannot have an answer either.
    if (request?.state === 'aboard' || !this.#open.delete(number))
      throw new FramingError(
        `it answered request number ${number}, which was never sent to it or has its answer already`,
      );
    if (request !== undefined) this.#awaited--;
    return request;
  }

  /** Ends the wait for those that were sent completely, because nobody will answer them. */
  drop(error: Error): void {
    for (const request of this.#open.values()) {
      if (request?.state !== 'sent') continue;
      this.remove(request);
      request.giveBack(error);
    }
  }
}
