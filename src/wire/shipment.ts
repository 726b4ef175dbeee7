import type { Outgoing } from '../descriptor/outgoing.js';
import { MAX_MESSAGES } from '../native/addon.js';
import { batch } from '../native/load.js';

/** The most bytes of one message. The rest of a longer piece follows as another message. */
const MOST_BYTES = 1 << 20;

/** Descriptors that travel with the byte at `at`. A message begins there even if there are none. */
export interface Mark {
  at: number;
  fds: Outgoing[];
}

/** Bytes to be sent, with descriptors beside some of them. A link's owner sends one shipment after the other. */
export class Shipment {
  readonly #bytes: Buffer;
  /** In the order of `at`. Those that were sent are removed. */
  readonly #marks: Mark[];
  readonly #length: number;
  #offset = 0;

  constructor(bytes: Buffer, marks: Mark[]) {
    this.#bytes = bytes;
    this.#length = bytes.length;
    this.#marks = marks;
  }

  /** The bytes that are still to be sent. */
  get rest(): Buffer {
    return this.#bytes.subarray(this.#offset);
  }

  /** Whether all its bytes are still there. A caller's buffer can be transferred or made shorter while it waits. */
  get intact(): boolean {
    return this.#bytes.length === this.#length;
  }

  get offset(): number {
    return this.#offset;
  }

  /** The descriptors that are still to be sent. */
  get unsent(): Outgoing[] {
    return this.#marks.flatMap(({ fds }) => fds);
  }

  /**
   * Describes the next messages in the batch, up to the first one whose descriptors must still wait. Returns how many
   * there are. `mayGo` is also told whether the message would be the first of these.
   */
  fill(mayGo: (fds: Outgoing[], first: boolean) => boolean = () => true): number {
    let messages = 0;
    let descriptors = 0;
    let mark = 0;
    for (let at = this.#offset; at < this.#length && messages < MAX_MESSAGES; messages++) {
      const fds = this.#marks[mark]?.at === at ? this.#marks[mark++]!.fds : [];
      if (!mayGo(fds, messages === 0)) break;
      for (const fd of fds) batch.fd[descriptors++] = fd.number;
      const end = Math.min(this.#marks[mark]?.at ?? this.#length, at + MOST_BYTES);
      batch.size[messages] = end - at;
      batch.count[messages] = fds.length;
      at = end;
    }
    return messages;
  }

  /**
   * Notes that the kernel has taken this much. Returns the descriptors that went with it, which their owner must let
   * go.
   */
  sent(messages: number, tail: number): Outgoing[] {
    const gone: Outgoing[] = [];
    for (let i = 0; i < messages; i++) {
      if (this.#marks[0]?.at === this.#offset) gone.push(...this.#marks.shift()!.fds);
      this.#offset += i === messages - 1 ? tail : batch.size[i]!;
    }
    return gone;
  }

  /** Replaces some of the descriptors that were not sent yet by others. */
  replace(fds: readonly Outgoing[], others: readonly Outgoing[]): void {
    for (const mark of this.#marks) mark.fds = mark.fds.map((fd) => others[fds.indexOf(fd)] ?? fd);
  }

  get done(): boolean {
    return this.#offset === this.#length;
  }
}
