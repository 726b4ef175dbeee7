/** What can stand in a queue. */
export class Queued {
  /** Where in the ring, when it stands in one. */
  place = 0;
}

const NONE: never[] = [];
const SMALLEST = 16;
/** A ring larger than this is given up when it is empty. */
const WORTH_KEEPING = 4096;

/**
 * First in, first out, with removal from anywhere, each in constant time. What is removed leaves a gap, passed over
 * later.
 */
export class Queue<T extends Queued> {
  /** Its length is a power of two, or 0 before there was anything. */
  #ring: (T | undefined)[] = NONE;
  #mask = -1;
  // Places, of which the lowest bits count: of the first in line, and behind the last.
  #head = 0;
  #tail = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): T | undefined {
    return this.#next(this.#head);
  }

  /** The one behind `item`. */
  after(item: T): T | undefined {
    return this.#next(item.place + 1);
  }

  push(item: T): void {
    if (this.#tail - this.#head > this.#mask) this.#makeRoom();
    this.#set(this.#tail++, item);
  }

  unshift(item: T): void {
    if (this.#tail - this.#head > this.#mask) this.#makeRoom();
    this.#set(--this.#head, item);
  }

  shift(): T | undefined {
    const item = this.first;
    if (item !== undefined) {
      this.#head = item.place;
      this.#clear(this.#head++);
    }
    return item;
  }

  /** Takes an item out, wherever it stands; false when it does not stand in this queue. */
  remove(item: T): boolean {
    if (this.#ring[item.place & this.#mask] !== item) return false;
    this.#clear(item.place);
    // A gap at either end is passed over now, and not again at each look.
    while (this.#tail > this.#head && this.#ring[(this.#tail - 1) & this.#mask] === undefined) this.#tail--;
    while (this.#tail > this.#head && this.#ring[this.#head & this.#mask] === undefined) this.#head++;
    return true;
  }

  #next(place: number): T | undefined {
    for (let at = place; at < this.#tail; at++) {
      const item = this.#ring[at & this.#mask];
      if (item !== undefined) return item;
    }
    return undefined;
  }

  #set(place: number, item: T): void {
    item.place = place;
    this.#ring[place & this.#mask] = item;
    this.#length++;
  }

  #clear(place: number): void {
    this.#ring[place & this.#mask] = undefined;
    this.#length--;
    if (this.#length === 0 && this.#mask >= WORTH_KEEPING) this.#renew(SMALLEST);
  }

  /** Closes the gaps, in a larger ring unless they were many. */
  #makeRoom(): void {
    const size = this.#ring.length;
    this.#renew(Math.max(SMALLEST, this.#length * 2 > this.#mask ? size * 2 : size));
  }

  #renew(size: number): void {
    const ring = emptyRing<T>(size);
    let tail = 0;
    for (let item = this.first; item !== undefined; item = this.after(item)) ring[tail++] = item;
    // Places are read while the items are gone through, and so changed only after.
    for (let place = 0; place < tail; place++) ring[place]!.place = place;
    this.#ring = ring;
    this.#mask = size - 1;
    this.#head = 0;
    this.#tail = tail;
  }
}

function emptyRing<T>(size: number): (T | undefined)[] {
  const ring: (T | undefined)[] = [];
  ring.length = size;
  return ring.fill(undefined); // much faster than Array.from
}
