/** The result of one sequence of descriptors, by the position of each that arrives. */
export class Tally {
  received = 0;
  doubled = 0;
  outOfOrder = 0;
  /** Foreign descriptors, which nobody sent. */
  foreign = 0;
  readonly #missing = new Set<number>();
  #expected = 0;

  /** The files are sent in turn, `files` of them; so a position is known unless half as many in a row are missing. */
  constructor(readonly files: number) {}

  /** The descriptor that arrives is the file of that index; `undefined` for a file that was never sent. */
  arrived(index: number | undefined): void {
    this.received++;
    if (index === undefined) {
      this.foreign++;
      return;
    }
    const ahead = (index - (this.#expected % this.files) + this.files) % this.files;
    const place = this.#expected + (ahead < this.files / 2 ? ahead : ahead - this.files);
    if (place < this.#expected) {
      if (this.#missing.delete(place)) this.outOfOrder++;
      else this.doubled++;
      return;
    }
    while (this.#expected < place) this.#missing.add(this.#expected++);
    this.#expected++;
  }

  /** Descriptors that did not arrive although later ones did. */
  get missing(): number {
    return this.#missing.size;
  }

  /** The position after the last that arrived. */
  get upTo(): number {
    return this.#expected;
  }
}
