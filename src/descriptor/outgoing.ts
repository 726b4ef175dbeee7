import { notOpen, unreadBytes } from '../errors.js';
import { Queued } from '../queue.js';
import { Custody } from './custody.js';
import { borrow, type FdLike } from './fd-like.js';
import { nodeObject, type NodeObject } from './node-object.js';
import { OwnedFd, endLoan, lend, lentNumber } from './owned-fd.js';

/**
 * What becomes of a descriptor: `'keep'` leaves it open, `'close'` closes it whether it was sent or not, `'return'` closes
 * it once sent and gives it back to its owner if it was not.
 */
export type Terms = 'keep' | 'close' | 'return';

/** A descriptor that waits to be sent. */
export class Outgoing extends Queued {
  readonly #terms: Terms;
  readonly #source: Custody | OwnedFd | number | undefined;
  /** Instead, if one of Node's own objects has it. */
  readonly #node: NodeObject | undefined;

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
    this.#node = fh instanceof OwnedFd ? undefined : nodeObject(fh);
    if (this.#node !== undefined) {
      if (terms !== 'keep') this.#node.hold();
      else if (this.#node.fd < 0) throw notOpen(this.#node.object);
    } else if (terms !== 'keep') this.#source = new Custody('fh', fh);
    else if (fh instanceof OwnedFd) {
      lend(fh);
      this.#source = fh;
    } else this.#source = borrow('fh', fh);
  }

  get number(): number {
    if (this.#node !== undefined) return this.#node.fd;
    const source = this.#source!;
    if (typeof source === 'number') return source;
    return source instanceof Custody ? source.fd : lentNumber(source);
  }

  /**
   * Whether it can be sent, or refused, now; if not, `wake` is called when that may have changed. What was written to it
   * here must leave this process first. Whatever stands behind it waits, too.
   */
  ready(wake: () => void): boolean {
    return this.#node === undefined || this.#terms === 'keep' || this.#node.ready(wake);
  }

  /** Why it must not be sent after all, once it is ready. */
  get refusal(): Error | undefined {
    if (this.#node === undefined) return undefined;
    if (this.#terms !== 'keep') return this.#node.refusal;
    return this.gone ? notOpen(this.#node.object) : undefined;
  }

  /** Whether its object has closed it by itself. */
  get gone(): boolean {
    return this.#node?.gone === true;
  }

  /** Bytes of a socket that were read already, here or before it came here: they must go with it. */
  get unread(): Buffer | undefined {
    if (this.#terms === 'keep') return undefined;
    return this.#source instanceof Custody ? this.#source.unread : this.#node?.unread;
  }

  /** The kernel has it, or nobody will ask for it again: closes it unless it is kept open. */
  letGo(): void {
    if (this.#terms !== 'keep') this.#node?.close();
    if (this.#source instanceof Custody) this.#source.close();
    else if (this.#source instanceof OwnedFd) endLoan(this.#source);
  }

  /** It will not be sent. */
  unsent(): void {
    if (this.#terms === 'return') this.giveBack();
    else this.letGo();
  }

  /** It will not be sent, and is its owner's again whatever the terms. */
  giveBack(): void {
    if (this.#terms === 'keep') this.letGo();
    else if (this.#source instanceof Custody) this.#source.giveBack();
    else this.#node?.giveBack();
  }
}

/** One for a wire that carries no bytes which were read already: it is refused while there are any. */
export class BareOutgoing extends Outgoing {
  constructor(...of: ConstructorParameters<typeof Outgoing>) {
    super(...of);
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

/** Takes several over, or none: if it throws, nothing has changed hands. */
export function outgoingAll(fds: readonly FdLike[], terms: 'keep' | 'return', Kind = Outgoing): Outgoing[] {
  const taken: Outgoing[] = [];
  try {
    for (const fd of fds) taken.push(new Kind(fd, terms));
    return taken;
  } catch (error) {
    for (const fd of taken) fd.unsent();
    throw error;
  }
}
