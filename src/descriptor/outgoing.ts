import { Queued } from '../queue.js';
import { Custody } from './custody.js';
import { borrow, type FdLike } from './fd-like.js';
import { OwnedFd, endLoan, lend, lentNumber } from './owned-fd.js';

/**
 * What becomes of a descriptor: `'keep'` leaves it open, `'close'` closes it whether it was sent or not, `'return'` closes
 * it once sent and gives it back to its owner if it was not.
 */
export type Terms = 'keep' | 'close' | 'return';

/** A descriptor that waits to be sent. */
export class Outgoing extends Queued {
  readonly #terms: Terms;
  readonly #source: Custody | OwnedFd | number;

  /**
   * `whenSent` is for when the kernel has it (and it is closed here), `whenRefused` for when it will never be sent.
   * If this throws, nothing has changed hands.
   */
  constructor(
    fh: FdLike,
    terms: Terms,
    readonly whenSent?: () => void,
    readonly whenRefused?: (error: Error) => void,
  ) {
    super();
    this.#terms = terms;
    if (terms !== 'keep') this.#source = new Custody('fh', fh);
    else if (fh instanceof OwnedFd) {
      lend(fh);
      this.#source = fh;
    } else this.#source = borrow('fh', fh);
  }

  get number(): number {
    const source = this.#source;
    if (typeof source === 'number') return source;
    return source instanceof Custody ? source.fd : lentNumber(source);
  }

  /** The kernel has it, or nobody will ask for it again: closes it unless it is kept open. */
  letGo(): void {
    if (this.#source instanceof Custody) this.#source.close();
    else if (this.#source instanceof OwnedFd) endLoan(this.#source);
  }

  /** It will not be sent. */
  unsent(): void {
    if (this.#source instanceof Custody && this.#terms === 'return') this.#source.giveBack();
    else this.letGo();
  }
}

/** Takes several over, or none: if it throws, nothing has changed hands. */
export function outgoingAll(fds: readonly FdLike[], terms: 'keep' | 'return'): Outgoing[] {
  const taken: Outgoing[] = [];
  try {
    for (const fd of fds) taken.push(new Outgoing(fd, terms));
    return taken;
  } catch (error) {
    for (const fd of taken) fd.unsent();
    throw error;
  }
}
