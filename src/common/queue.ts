/** The base class of what a queue holds. */
export class Queued {
  /** Its place in the ring, while it is in a queue. */
  place = 0;
}

const NONE: never[] = [];
const SMALLEST = 16;
/** A ring of more places than this is given up when it becomes empty. */
const WORTH_KEEPING = 4096;

/**
 * A queue: first in, first out. Removal from any place is possible too, and each operation takes constant time on
 * average. What is removed leaves a gap, which is skipped later.
 *
 * It can also hold objects that do not know their place (`Bare`). The same one may be in it several times. It can be
 * shifted out, but not removed from the middle.
 */
export class Queue<T extends Queued, Bare extends object = never> {
  /**
   * One queue that all share as long as theirs are empty, because many objects never queue anything. Whoever adds to it
   * first replaces it by what `own` returns.
   */
  static none<T extends Queued, Bare extends object = never>(): Queue<T, Bare> {
    return nothing as unknown as Queue<T, Bare>;
  }

  /** This queue, or a new one instead of `none`. */
  own(): Queue<T, Bare> {
    return (this as unknown) === nothing ? new Queue() : this;
  }

  /** Its length is a power of two, or 0 until something is added. */
  #ring: (T | Bare | undefined)[] = NONE;
  #mask = -1;
  // The place of the first item, and the place behind the last one. Their lowest bits are the index in the ring.
  #head = 0;
  #tail = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): T | Bare | undefined {
    return this.at(this.next(this.#head));
  }

  /** The item behind `item`. */
  after(item: T): T | Bare | undefined {
    return this.at(this.next(item.place + 1));
  }

  /** The first place from `place` on that holds an item. Behind the last item, a place that holds none. */
  next(place = this.#head): number {
    let at = place;
    while (at < this.#tail && this.#ring[at & this.#mask] === undefined) at++;
    return at;
  }

  at(place: number): T | Bare | undefined {
    return place < this.#tail ? this.#ring[place & this.#mask] : undefined;
  }

  push(item: T): void {
    this.pushBare(item);
    item.place = this.#tail - 1;
  }

  pushBare(item: T | Bare): void {
    if (this.#tail - this.#head > this.#mask) this.#makeRoom();
    this.#ring[this.#tail++ & this.#mask] = item;
    this.#length++;
  }

  unshift(item: T): void {
    if (this.#tail - this.#head > this.#mask) this.#makeRoom();
    item.place = --this.#head;
    this.#ring[item.place & this.#mask] = item;
    this.#length++;
  }

  shift(): T | Bare | undefined {
    const place = this.next();
    const item = this.at(place);
    if (item !== undefined) {
      this.#head = place + 1;
      this.#clear(place);
    }
    return item;
  }

  /** Takes an item out, wherever it is. Returns false if it is not in this queue. */
  remove(item: T): boolean {
    if (this.#ring[item.place & this.#mask] !== item) return false;
    this.#clear(item.place);
    // A gap at either end is skipped here once, so that no later search has to skip it.
    while (this.#tail > this.#head && this.#ring[(this.#tail - 1) & this.#mask] === undefined) this.#tail--;
    while (this.#tail > this.#head && this.#ring[this.#head & this.#mask] === undefined) this.#head++;
    return true;
  }

  #clear(place: number): void {
    this.#ring[place & this.#mask] = undefined;
    this.#length--;
    if (this.#length > 0 || this.#mask < WORTH_KEEPING) return;
    this.#ring = NONE;
    this.#mask = -1;
    this.#head = this.#tail = 0;
  }

  /** Doubles the ring if at least half of its places hold items, and closes its gaps otherwise. */
  #makeRoom(): void {
    if (this.#length * 2 <= this.#mask) this.#closeGaps();
    else this.#enlarge(Math.max(SMALLEST, 2 * this.#ring.length));
  }

  /** The items keep their places, so those that were queued long ago need not be touched. */
  #enlarge(size: number): void {
    const ring = emptyRing<T | Bare>(size);
    for (let place = this.#head; place < this.#tail; place++) ring[place & (size - 1)] = this.#ring[place & this.#mask];
    this.#ring = ring;
    this.#mask = size - 1;
  }

  #closeGaps(): void {
    const ring = emptyRing<T | Bare>(this.#ring.length);
    let tail = 0;
    for (let place = this.next(); place < this.#tail; place = this.next(place + 1)) {
      const item = this.at(place)!;
      if ('place' in item) item.place = tail;
      ring[tail++] = item;
    }
    this.#ring = ring;
    this.#head = 0;
    this.#tail = tail;
  }
}

const nothing = new Queue();

function emptyRing<T>(size: number): (T | undefined)[] {
  const ring: (T | undefined)[] = [];
  ring.length = size;
  return ring.fill(undefined); // much faster than Array.from
}
