import type { Outgoing } from '../descriptor/outgoing.js';
import { MAX_FDS } from '../native/addon.js';
import { Shipment, type Mark } from '../wire/shipment.js';
import { SHORT } from './frames.js';

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
    const before = this.#length;
    for (const piece of pieces) {
      this.#pieces.push(piece);
      this.#length += piece.length;
    }
    if (this.#packets || this.#beginsMessage(fds.length)) this.#marks.push({ at: before, fds: [...fds] });
    else this.#marks.at(-1)?.fds.push(...fds);
  }

  /**
   * Whether the frame that was added last, with so many descriptors, begins a message of the kernel. A message with
   * descriptors should fit in one receive: they come twice with one that does not.
   */
  #beginsMessage(fds: number): boolean {
    const last = this.#marks.at(-1);
    if (last === undefined || last.fds.length === 0) return fds > 0;
    return last.fds.length + fds > MAX_FDS || this.#length - last.at >= SHORT;
  }

  /** Makes the shipment. This is the only copy of what was encoded. */
  seal(): Shipment {
    return new Shipment(Buffer.concat(this.#pieces, this.#length), this.#marks);
  }
}
