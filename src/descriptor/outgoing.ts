import { constants } from 'node:os';
import { attempt } from '../common/attempt.js';
import type { Queued } from '../common/queue.js';
import { notOpen, notOpenNumber, ownedAlready, unreadBytes } from '../errors.js';
import { addon } from '../native/load.js';
import { leaving } from './closer.js';
import { numberIn, takeOver, type FdLike } from './fd-like.js';
import { nodeObject, type NodeObject, type Sender } from './node-object.js';
import { OwnedFd } from './owned-fd.js';
import { ownership } from './ownership.js';
import { slotFreed } from './table.js';

const { EEXIST } = constants.errno;

/**
 * What becomes of a descriptor: `'keep'` leaves it open, `'close'` closes it whether it was sent or not, `'return'`
 * closes it once sent and gives it back to its owner if it was not.
 */
export type Terms = 'keep' | 'close' | 'return';

/**
 * A descriptor that waits to be sent. There is one class for each way to keep its number from being used again
 * meanwhile: an OwnedFd does that, one of Node's objects is held, and a number that its owner lends is noted.
 */
export interface Outgoing extends Queued {
  /** For when the kernel has it, and it is closed here. */
  readonly whenSent: (() => void) | undefined;
  /** For when it will never be sent. */
  readonly whenRefused: ((error: Error) => void) | undefined;

  /** -1 when what was lent is not open any more: the kernel refuses that as `EBADF`. */
  readonly number: number;
  /**
   * Whether it can be sent, or refused, now; if not, `sender` is told when that may have changed. What was written to
   * it here must leave this process first. Whatever stands behind it waits, too.
   */
  ready(sender: Sender): boolean;
  /** Why it must not be sent after all, once it is ready. */
  readonly refusal: Error | undefined;
  /** Whether its object has closed it by itself. */
  readonly gone: boolean;
  /** Bytes of a socket that were read already, here or before it came here: they must go with it. */
  readonly unread: Buffer | undefined;
  /**
   * Its message begins to leave, though the kernel may take it, or the peer confirm it, only later. From now on nothing
   * here may touch the connection.
   */
  depart(): void;

  /** The kernel has it, or nobody will ask for it again: closes it unless it is kept open. */
  letGo(): void;
  /** It will not be sent. */
  unsent(): void;
  /** It will not be sent, and is its owner's again whatever the terms. */
  giveBack(): void;
}

/**
 * Has a descriptor wait to be sent. A `bare` wire carries no bytes which were read already: the descriptor is refused
 * while there are any. If this throws, nothing has changed hands.
 */
export function outgoing(
  fh: FdLike,
  terms: Terms,
  bare: boolean,
  whenSent?: () => void,
  whenRefused?: (error: Error) => void,
): Outgoing {
  const made = begin(fh, terms, bare, whenSent, whenRefused);
  if (!bare) return made;
  const refusal = made.refusal ?? (made.unread && unreadBytes(made.unread.length));
  if (refusal === undefined) return made;
  made.giveBack();
  throw refusal;
}

function begin(
  fh: FdLike,
  terms: Terms,
  bare: boolean,
  whenSent: (() => void) | undefined,
  whenRefused: ((error: Error) => void) | undefined,
): Outgoing {
  if (fh instanceof OwnedFd) return new OutgoingOwned(fh, false, terms, whenSent, whenRefused);
  const node = nodeObject(fh);
  if (node !== undefined) return new OutgoingObject(node, terms, bare, whenSent, whenRefused);
  if (terms === 'keep') return new OutgoingLoan(numberIn('fh', fh), whenSent, whenRefused);
  return new OutgoingOwned(takeOver('fh', fh), true, terms, whenSent, whenRefused);
}

/**
 * Takes several over, or none: if it throws, which says which was at fault, nothing has changed hands. `check` throws
 * when it is too late for them, since what an object says of its descriptor may be code of its owner's, which does
 * anything.
 */
export function outgoingAll(
  fds: readonly FdLike[],
  terms: 'keep' | 'return',
  bare: boolean,
  check = (): void => {},
): Outgoing[] {
  const taken: Outgoing[] = [];
  try {
    for (const fd of fds) taken.push(outgoing(fd, terms, bare));
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

/** An OwnedFd that is lent or given, or a number that was given and has an OwnedFd until it is sent. */
class OutgoingOwned implements Outgoing {
  place = 0;
  readonly number: number;
  readonly #owned: OwnedFd;
  readonly #terms: Terms;

  constructor(
    owned: OwnedFd,
    wasNumber: boolean,
    terms: Terms,
    readonly whenSent: (() => void) | undefined,
    readonly whenRefused: ((error: Error) => void) | undefined,
  ) {
    this.number = terms === 'keep' ? ownership.lend(owned) : ownership.give(owned, wasNumber);
    ownership.setAlone(owned, false); // somebody else is about to have it as well
    this.#owned = owned;
    this.#terms = terms;
  }

  ready(): boolean {
    return true;
  }

  get refusal(): undefined {
    return undefined;
  }

  get gone(): boolean {
    return false;
  }

  get unread(): Buffer | undefined {
    return this.#owned.unread;
  }

  depart(): void {}

  letGo(): void {
    if (this.#terms !== 'keep') this.#owned.close();
    ownership.endLoan(this.#owned);
  }

  unsent(): void {
    if (this.#terms === 'return') this.giveBack();
    else this.letGo();
  }

  giveBack(): void {
    if (this.#terms === 'keep') this.letGo();
    else attempt(() => ownership.giveBack(this.#owned));
  }
}

/**
 * A number that its owner lends and goes on using. As long as it is lent, in whatever thread, this library closes it
 * nowhere: whoever hands the number over meanwhile has it closed when the last loan is over.
 */
class OutgoingLoan implements Outgoing {
  place = 0;
  readonly #fd: number;
  readonly #identity: number;

  /** Throws `EBADF` when nothing is open there, and `ERR_FDPASSER_OWNED` when a send has it, and will close it. */
  constructor(
    fd: number,
    readonly whenSent: (() => void) | undefined,
    readonly whenRefused: ((error: Error) => void) | undefined,
  ) {
    this.#fd = fd;
    if (leaving.has(fd)) throw ownedAlready(fd);
    this.#identity = addon.lend(fd);
    if (this.#identity === -EEXIST) throw ownedAlready(fd);
    if (this.#identity < 0) throw notOpenNumber(this.#identity, fd);
  }

  /** -1 when it is another file by now, whose owner has lent nothing. */
  get number(): number {
    return addon.identity(this.#fd) === this.#identity ? this.#fd : -1;
  }

  ready(): boolean {
    return true;
  }

  get refusal(): undefined {
    return undefined;
  }

  get gone(): boolean {
    return false;
  }

  get unread(): undefined {
    return undefined;
  }

  depart(): void {}

  letGo(): void {
    if (addon.endLoan(this.#fd, this.#identity)) slotFreed();
  }

  unsent(): void {
    this.letGo();
  }

  giveBack(): void {
    this.letGo();
  }
}

/** One of Node's own objects, which is held, or lends its descriptor and goes on. */
class OutgoingObject implements Outgoing {
  place = 0;
  readonly #node: NodeObject;
  readonly #terms: Terms;
  readonly #bare: boolean;
  #departed = false;

  constructor(
    node: NodeObject,
    terms: Terms,
    bare: boolean,
    readonly whenSent: (() => void) | undefined,
    readonly whenRefused: ((error: Error) => void) | undefined,
  ) {
    if (terms === 'keep') node.lend();
    else node.hold();
    this.#node = node;
    this.#terms = terms;
    this.#bare = bare;
  }

  get number(): number {
    return this.#node.fd;
  }

  ready(sender: Sender): boolean {
    return this.#terms === 'keep' || this.#departed || this.#node.ready(sender);
  }

  get refusal(): Error | undefined {
    const { unread } = this;
    if (this.#bare && unread !== undefined) return unreadBytes(unread.length);
    if (this.#terms !== 'keep' && !this.#departed) return this.#node.refusal;
    return this.gone ? notOpen(this.#node.object) : undefined;
  }

  get gone(): boolean {
    return this.#node.gone;
  }

  /** A socket that is only lent goes on reading, for itself. */
  get unread(): Buffer | undefined {
    return this.#terms === 'keep' ? undefined : this.#node.unread;
  }

  depart(): void {
    this.#departed = true;
    if (this.#terms !== 'keep') this.#node.depart();
  }

  letGo(): void {
    attempt(() => (this.#terms === 'keep' ? this.#node.endLoan() : this.#node.close()));
  }

  unsent(): void {
    if (this.#terms === 'return') this.giveBack();
    else this.letGo();
  }

  giveBack(): void {
    if (this.#terms === 'keep') this.letGo();
    else attempt(() => this.#node.giveBack());
  }
}
