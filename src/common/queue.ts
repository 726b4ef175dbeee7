/** The base class of what a queue holds. */
export class Queued {
  /** Its place in the ring, while it is in a queue. */
  place = 0;
}

const NONE: never[] = [];
const SMALLEST = 16;
/** A ring of more places than this is replaced by a small one when it becomes empty. */
const WORTH_KEEPING = 4096;

/**
 * A queue: first in, first out. Removal from any place is possible too, and each operation takes constant time on
 * average. What is removed leaves a gap, which is skipped later.
 */
export class Queue<T extends Queued> {
  /** Its length is a power of two, or 0 until something is added. */
  #ring: (T | undefined)[] = NONE;
  #mask = -1;
  // The place of the first item, and the place behind the last one. Their lowest bits are the index in the ring.
  #head = 0;
  #tail = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): T | undefined {
    return this.#next(this.#head);
  }

  /** The item behind `item`. */
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

  /** Takes an item out, wherever it is. Returns false if it is not in this queue. */
  remove(item: T): boolean {
    if (this.#ring[item.place & this.#mask] !== item) return false;
    this.#clear(item.place);
    // A gap at either end is skipped here once, so that no later search has to skip it.
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

  /** Closes the gaps. The ring doubles if at least half of its places hold items, and keeps its size otherwise. */
  #makeRoom(): void {
    const size = this.#ring.length;
    this.#renew(Math.max(SMALLEST, this.#length * 2 > this.#mask ? size * 2 : size));
  }

  #renew(size: number): void {
    const ring = emptyRing<T>(size);
    let tail = 0;
    for (let item = this.first; item !== undefined; item = this.after(item)) ring[tail++] = item;
    // The loop above reads the places, so they are changed only after it.
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
