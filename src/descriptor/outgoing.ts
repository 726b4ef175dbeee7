import { attempt } from '../common/attempt.js';
import { notOpen, unreadBytes } from '../errors.js';
import { Queued } from '../common/queue.js';
import { Custody } from './custody.js';
import type { FdLike } from './fd-like.js';
import { Loan } from './loan.js';
import { NodeObject, nodeObject, type Sender } from './node-object.js';
import { OwnedFd, endLoan, lend, lentNumber, share } from './owned-fd.js';

/**
 * What becomes of a descriptor: `'keep'` leaves it open, `'close'` closes it whether it was sent or not, `'return'` closes
 * it once sent and gives it back to its owner if it was not.
 */
export type Terms = 'keep' | 'close' | 'return';

/** A descriptor that waits to be sent. */
export class Outgoing extends Queued {
  readonly #terms: Terms;
  readonly #source: Custody | OwnedFd | NodeObject | Loan;
  #departed = false;

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
    const node = fh instanceof OwnedFd ? undefined : nodeObject(fh);
    if (node !== undefined) {
      if (terms !== 'keep') node.hold();
      else node.lend();
      this.#source = node;
    } else if (terms !== 'keep') {
      this.#source = new Custody('fh', fh);
      this.#source.share();
    } else if (fh instanceof OwnedFd) {
      lend(fh);
      share(fh);
      this.#source = fh;
    } else this.#source = new Loan('fh', fh);
  }

  /** Whose descriptor it is, if one of Node's own objects has it. */
  #node(): NodeObject | undefined {
    return this.#source instanceof NodeObject ? this.#source : undefined;
  }

  /** -1 when what was lent is not open any more: the kernel refuses that as `EBADF`. */
  get number(): number {
    const source = this.#source;
    return source instanceof OwnedFd ? lentNumber(source) : source.fd;
  }

  /**
   * Whether it can be sent, or refused, now; if not, `sender` is told when that may have changed. What was written to it
   * here must leave this process first. Whatever stands behind it waits, too.
   */
  ready(sender: Sender): boolean {
    return this.#terms === 'keep' || this.#departed || (this.#node()?.ready(sender) ?? true);
  }

  /**
   * Its message begins to leave, though the kernel may take it, or the peer confirm it, only later. From now on nothing here
   * may touch the connection.
   */
  depart(): void {
    this.#departed = true;
    if (this.#terms !== 'keep') this.#node()?.depart();
  }

  /** Why it must not be sent after all, once it is ready. */
  get refusal(): Error | undefined {
    const node = this.#node();
    if (node === undefined) return undefined;
    if (this.#terms !== 'keep' && !this.#departed) return node.refusal;
    return node.gone ? notOpen(node.object) : undefined;
  }

  /** Whether its object has closed it by itself. */
  get gone(): boolean {
    return this.#node()?.gone === true;
  }

  /**
   * Bytes of a socket that were read already, here or before it came here: they must go with it. A socket of Node's that is
   * only lent goes on reading, for itself.
   */
  get unread(): Buffer | undefined {
    const source = this.#source;
    if (source instanceof Loan || (this.#terms === 'keep' && source instanceof NodeObject)) return undefined;
    return source.unread;
  }

  /** The kernel has it, or nobody will ask for it again: closes it unless it is kept open. */
  letGo(): void {
    const source = this.#source;
    if (source instanceof OwnedFd) endLoan(source);
    else if (source instanceof Loan) source.end();
    else if (source instanceof NodeObject) attempt(() => (this.#terms === 'keep' ? source.endLoan() : source.close()));
    else source.close();
  }

  /** It will not be sent. */
  unsent(): void {
    if (this.#terms === 'return') this.giveBack();
    else this.letGo();
  }

  /** It will not be sent, and is its owner's again whatever the terms. */
  giveBack(): void {
    const source = this.#source;
    if (this.#terms === 'keep' || source instanceof Loan || source instanceof OwnedFd) this.letGo();
    else attempt(() => source.giveBack());
  }
}

/** One for a wire that carries no bytes which were read already: it is refused while there are any. */
export class BareOutgoing extends Outgoing {
  constructor(fh: FdLike, terms: Terms, whenSent?: () => void, whenRefused?: (error: Error) => void) {
    super(fh, terms, whenSent, whenRefused);
    const { refusal } = this;
    if (refusal === undefined) return;
    this.giveBack();
    throw refusal;
  }

  override get refusal(): Error | undefined {
    const { unread } = this;
    return unread === undefined ? super.refusal : unreadBytes(unread.length);
  }
}

/**
 * Takes several over, or none: if it throws, which says which was at fault, nothing has changed hands. `check` throws when it
 * is too late for them, since what an object says of its descriptor may be code of its owner's, which does anything.
 */
export function outgoingAll(
  fds: readonly FdLike[],
  terms: 'keep' | 'return',
  Kind = Outgoing,
  check = (): void => {},
): Outgoing[] {
  const taken: Outgoing[] = [];
  try {
    for (const fd of fds) taken.push(new Kind(fd, terms));
  } catch (error) {
    for (const fd of taken) fd.unsent();
    (error as Error).message += ` (fds[${taken.length}])`;
    throw error;
  }
  try {
    check();
  } catch (error) {
    for (const fd of taken) fd.unsent();
    throw error;
  }
  return taken;
}
