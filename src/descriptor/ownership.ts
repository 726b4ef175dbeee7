import type { Closer } from '../native/addon.js';
import type { OwnedFd } from './owned-fd.js';

/**
 * What this library itself may do with an OwnedFd, beside what everyone may. Nobody else can: the package does not
 * export it.
 */
export interface Ownership {
  /** The number, whatever the state. */
  number(owned: OwnedFd): number;
  closer(owned: OwnedFd): Closer;
  setUnread(owned: OwnedFd, bytes: Buffer | undefined): void;

  /**
   * A send borrows it: to close it waits for that. Returns the number. Throws `ERR_FDPASSER_NOT_OWNED` when it is
   * closed.
   */
  lend(owned: OwnedFd): number;
  /**
   * A send or a link takes it over, for good or until `giveBack`. Returns the number, and throws as `lend` does. With
   * `asNumber` the caller knows the number alone, and has that back.
   */
  give(owned: OwnedFd, asNumber: boolean): number;
  /** Whether nobody else has it, so that to close it is to end it. */
  setAlone(owned: OwnedFd, alone: boolean): void;
  /** What `lend` or `give` began is over. */
  endLoan(owned: OwnedFd): void;
  /** The same, and the caller owns it again. */
  giveBack(owned: OwnedFd): void;
  /**
   * The same, with a new owner for what was given. Throws `ERR_FDPASSER_LENT`, changing nothing, while a send borrows
   * it.
   */
  moveOut(owned: OwnedFd): OwnedFd;

  /** The number, if nobody borrows it. Throws `ERR_FDPASSER_NOT_OWNED` or `ERR_FDPASSER_LENT`. */
  takable(owned: OwnedFd): number;
  /** It has no descriptor any more. What was its descriptor stays open, and owned. */
  forget(owned: OwnedFd): void;
  /**
   * What is needed to close it once it is collected; `undefined` when it is closed. From now on its end needs
   * `unwatch`.
   */
  watch(owned: OwnedFd): { fd: number; closer: Closer } | undefined;
}

/** Filled in where the class is made. */
export const ownership = {} as Ownership;
