import { constants } from 'node:os';
import { attempt } from '../common/attempt.js';
import type { Queued } from '../common/queue.js';
import { notOpen, notOpenNumber, ownedAlready, unreadBytes } from '../errors.js';
import { addon, batch } from '../native/load.js';
import { leaving } from './closer.js';
import { numberIn, takeOver, type FdLike } from './fd-like.js';
import { nodeObject, type NodeObject, type Sender } from './node-object.js';
import { OwnedFd } from './owned-fd.js';
import { ownership } from './ownership.js';
import { slotFreed } from './table.js';

const { EEXIST } = constants.errno;

/**
 * What happens to a descriptor after a send. `'keep'` leaves it open. `'close'` closes it, whether it was sent or not.
 * `'return'` closes it if it was sent, and gives it back to its owner if not.
 */
export type Terms = 'keep' | 'close' | 'return';

/**
 * A descriptor that waits to be sent. While it waits, its number must not be closed and used again. Each class that
 * implements this prevents it in another way: an OwnedFd does so itself, one of Node's objects is held, and a number
 * that its owner lends is noted in the registry.
 */
export interface Outgoing extends Queued {
  /** Called when the kernel has the descriptor, and it is closed here unless it is kept. */
  readonly whenSent: (() => void) | undefined;
  /** Called when the descriptor will never be sent. */
  readonly whenRefused: ((error: Error) => void) | undefined;

  /** The number, or -1 if a lent number is no longer the same open file: the kernel refuses -1 with `EBADF`. */
  readonly number: number;
  /**
   * Whether it can be sent or refused now. If not, `sender` is called when that may have changed. It cannot be sent
   * before everything that was written to it here has left this process. What is queued behind it waits too.
   */
  ready(sender: Sender): boolean;
  /** Why it must not be sent, to be asked when it is ready. */
  readonly refusal: Error | undefined;
  /** Whether its object has closed it in the meantime. */
  readonly gone: boolean;
  /** Bytes that were read from a socket already, here or before it came here. They must be sent with it. */
  readonly unread: Buffer | undefined;
  /**
   * Says that its message begins to leave. The kernel may take it later, and the peer may confirm it later. From now on
   * nothing here may use the connection.
   */
  depart(): void;

  /** Ends the wait: the kernel has it, or nobody will ask for it again. Closes it unless it is kept. */
  letGo(): void;
  /** Ends the wait: it will not be sent. */
  unsent(): void;
  /** Ends the wait: it will not be sent, and its owner has it again whatever the terms. */
  giveBack(): void;
}

/**
 * Makes a descriptor wait to be sent. A `bare` wire cannot carry bytes that were read already, so there a descriptor
 * with such bytes is refused. If this throws, the caller still owns the descriptor.
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

/**
 * What waits to be sent over a bare wire. An OwnedFd that is lent waits itself if nobody is to be told the result: many
 * may wait, and an object for each would take more memory than all else. The functions below do for it what an
 * `Outgoing` does itself.
 */
export type Waiting = Outgoing | OwnedFd;

/** Lends an OwnedFd to a bare wire. Throws what `outgoing` throws. */
export function lend(owned: OwnedFd): OwnedFd {
  const { unread } = owned;
  ownership.lend(owned);
  ownership.setAlone(owned, false); // another process is about to have it too
  if (unread === undefined) return owned;
  ownership.endLoan(owned);
  throw unreadBytes(unread.length);
}

export function numberOf(waiting: Waiting): number {
  return waiting instanceof OwnedFd ? ownership.number(waiting) : waiting.number;
}

/** Returns the descriptor if it can be sent now. */
export function sendable(waiting: Waiting | undefined, sender: Sender): Waiting | undefined {
  if (waiting === undefined || waiting instanceof OwnedFd) return waiting;
  return waiting.ready(sender) && waiting.refusal === undefined ? waiting : undefined;
}

/** What to call when it was sent. */
export function letGo(waiting: Waiting): (() => void) | undefined {
  if (waiting instanceof OwnedFd) {
    ownership.endLoan(waiting);
    return undefined;
  }
  waiting.letGo();
  return waiting.whenSent;
}

/** What to call when it will not be sent. */
export function unsent(waiting: Waiting): ((error: Error) => void) | undefined {
  if (waiting instanceof OwnedFd) {
    ownership.endLoan(waiting);
    return undefined;
  }
  waiting.unsent();
  return waiting.whenRefused;
}

function begin(
  fh: FdLike,
  terms: Terms,
  bare: boolean,
  whenSent: (() => void) | undefined,
  whenRefused: ((error: Error) => void) | undefined,
): Outgoing {
  if (fh instanceof Parcel) return fh;
  if (fh instanceof OwnedFd) return new OutgoingOwned(fh, false, terms, whenSent, whenRefused);
  const node = nodeObject(fh);
  if (node !== undefined) return new OutgoingObject(node, terms, bare, whenSent, whenRefused);
  if (terms === 'keep') return new OutgoingLoan(numberIn('fh', fh), whenSent, whenRefused);
  return new OutgoingOwned(takeOver('fh', fh), true, terms, whenSent, whenRefused);
}

/**
 * Takes over all of several descriptors, or none. If it throws, the caller still owns them all, and the message says
 * which one was at fault. `check` is called when all are taken, and throws if it is too late to send them: Node's
 * objects and getters may have run code of the caller's, which may have closed the link.
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

/**
 * A number that this process passes on: it may be sent several times, and is closed when another process has confirmed
 * it. It is lighter than an OwnedFd. No garbage collector watches it, so whoever has it must end it.
 */
export class Parcel implements Outgoing {
  place = 0;

  /** Owns the number, which has no OwnedFd. */
  constructor(readonly fd: number) {}

  get number(): number {
    return this.fd;
  }

  get whenSent(): undefined {
    return undefined;
  }

  get whenRefused(): undefined {
    return undefined;
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
  letGo(): void {}
  unsent(): void {}
  giveBack(): void {}

  static closeAll(parcels: readonly Parcel[]): void {
    for (let at = 0; at < parcels.length; at += batch.fd.length) {
      const some = parcels.slice(at, at + batch.fd.length);
      for (const [i, { fd }] of some.entries()) batch.fd[i] = fd;
      addon.closeAll(some.length);
    }
    slotFreed();
  }
}

/** Takes the number out of an OwnedFd for a parcel. Throws `ERR_FDPASSER_NOT_OWNED` or `ERR_FDPASSER_LENT`. */
export function parcelNumber(owned: OwnedFd): number {
  const fd = ownership.takable(owned);
  ownership.forget(owned);
  return fd;
}

/** An OwnedFd that is lent or given away. A number that is given away gets an OwnedFd until it is sent. */
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
    ownership.setAlone(owned, false); // another process is about to have it too
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
 * A number that its owner lends and goes on using. While it is lent in any thread, this library does not close it. If
 * somebody hands the number over meanwhile, it is closed after the last loan.
 */
class OutgoingLoan implements Outgoing {
  place = 0;
  readonly #fd: number;
  readonly #identity: number;

  /**
   * Throws `EBADF` if nothing is open there, and `ERR_FDPASSER_OWNED` if a send has taken the number over and will
   * close it.
   */
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

  /** -1 if the number is another file by now: nobody has lent that. */
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

/** One of Node's own objects. It is held, or with `keep` it lends its descriptor and works on. */
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

  /** A socket that is only lent reads on, so nothing of what it has read is sent with it. */
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
