/** How many milliseconds of a turn of the event loop may go by with moving connections. */
const TURN = 4;

/** Cuts long work into pieces, between which the event loop turns: others are to be answered meanwhile. */
export class Turns {
  #end = 0;

  /** Whether the next piece belongs into another turn. */
  get over(): boolean {
    return performance.now() >= this.#end;
  }

  /** Resolves in the next turn. */
  async next(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#end = performance.now() + TURN;
  }
}
