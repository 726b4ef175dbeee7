import type { Outgoing } from '../descriptor/outgoing.js';
import { MAX_FDS } from '../native/addon.js';
import { Shipment, type Mark } from '../wire/shipment.js';

/** A shipment of frames that is being put together. */
export class Draft {
  readonly #packets: boolean;
  readonly #pieces: Buffer[] = [];
  readonly #marks: Mark[] = [];
  #length = 0;

  /** With `packets`, each frame becomes a message of its own for the kernel. */
  constructor(packets: boolean) {
    this.#packets = packets;
  }

  get length(): number {
    return this.#length;
  }

  /**
   * Adds a frame, or a hello. On a stream, its descriptors may be sent with an earlier byte, so that many frames fit in
   * one message of the kernel.
   */
  add(pieces: readonly Buffer[], fds: readonly Outgoing[]): void {
    const last = this.#marks.at(-1);
    const full = last === undefined || last.fds.length + fds.length > MAX_FDS;
    if (this.#packets || (fds.length > 0 && full)) this.#marks.push({ at: this.#length, fds: [...fds] });
    else last?.fds.push(...fds);
    for (const piece of pieces) {
      this.#pieces.push(piece);
      this.#length += piece.length;
    }
  }

  /** Makes the shipment. This is the only copy of what was encoded. */
  seal(): Shipment {
    return new Shipment(Buffer.concat(this.#pieces, this.#length), this.#marks);
  }
}
