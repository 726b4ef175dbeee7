import type { Closer } from '../native/addon.js';
import type { OwnedFd } from './owned-fd.js';

/** What only this library may do with an OwnedFd. The package does not export it. */
export interface Ownership {
  /** The number, whatever the state. */
  number(owned: OwnedFd): number;
  closer(owned: OwnedFd): Closer;
  setUnread(owned: OwnedFd, bytes: Buffer | undefined): void;

  /**
   * Lends it to a send: a close waits until the loan ends. Returns the number. Throws `ERR_FDPASSER_NOT_OWNED` if it is
   * closed.
   */
  lend(owned: OwnedFd): number;
  /**
   * Gives it to a send or a link, for good or until `giveBack`. Returns the number, and throws what `lend` throws. With
   * `asNumber` the caller knows only the number, and gets a number back.
   */
  give(owned: OwnedFd, asNumber: boolean): number;
  /** Says that what it was given to will not be garbage-collected before it is closed. */
  keep(owned: OwnedFd): void;
  /** Notes whether nobody else has it, so that closing it ends it. */
  setAlone(owned: OwnedFd, alone: boolean): void;
  /** Ends what `lend` or `give` began. */
  endLoan(owned: OwnedFd): void;
  /** Ends it, and makes the caller the owner again. */
  giveBack(owned: OwnedFd): void;
  /**
   * Ends it, and returns a new owner of what was given. Throws `ERR_FDPASSER_LENT`, and changes nothing, while a send
   * borrows it.
   */
  moveOut(owned: OwnedFd): OwnedFd;

  /** Returns the number if nobody borrows it. Throws `ERR_FDPASSER_NOT_OWNED` or `ERR_FDPASSER_LENT`. */
  takable(owned: OwnedFd): number;
  /** Takes the descriptor away from it without closing it. Something else owns that now. */
  forget(owned: OwnedFd): void;
  /** Notes that it is watched for garbage. Returns false if that is not needed any more, or was done. */
  watch(owned: OwnedFd): boolean;
}

/** Filled in by the static block of the class. */
export const ownership = {} as Ownership;
