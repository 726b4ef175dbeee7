/** What can stand in one queue at a time. */
export class Queued {
  queue: unknown = undefined;
  next: Queued | undefined = undefined;
  previous: Queued | undefined = undefined;
}

/** First in, first out, with removal from anywhere, each in constant time. */
export class Queue<T extends Queued> {
  // The ends of a ring: `next` is the first in line and `previous` the last.
  readonly #ring = new Queued();
  #length = 0;

  constructor() {
    this.#ring.next = this.#ring;
    this.#ring.previous = this.#ring;
  }

  get length(): number {
    return this.#length;
  }

  get first(): T | undefined {
    return this.#length === 0 ? undefined : (this.#ring.next as T);
  }

  /** The one behind `item`. */
  after(item: T): T | undefined {
    return item.next === this.#ring ? undefined : (item.next as T);
  }

  push(item: T): void {
    this.#insert(item, this.#ring.previous!);
  }

  unshift(item: T): void {
    this.#insert(item, this.#ring);
  }

  shift(): T | undefined {
    const item = this.first;
    if (item !== undefined) this.remove(item);
    return item;
  }

  /** Takes an item out, wherever it stands; false when it does not stand in this queue. */
  remove(item: T): boolean {
    if (item.queue !== this) return false;
    item.previous!.next = item.next;
    item.next!.previous = item.previous;
    item.queue = undefined;
    item.next = undefined;
    item.previous = undefined;
    this.#length--;
    return true;
  }

  #insert(item: T, behind: Queued): void {
    item.queue = this;
    item.previous = behind;
    item.next = behind.next;
    behind.next!.previous = item;
    behind.next = item;
    this.#length++;
  }
}
