import { unreadHere } from '../errors.js';
import { takeOver, type FdLike } from './fd-like.js';
import { OwnedFd, endLoan, give, giveBack, lentNumber, letOut, moveOut, share } from './owned-fd.js';

/** A descriptor taken over from a caller, to whom it can still be given back. */
export class Custody {
  readonly #owned: OwnedFd;
  readonly #wasNumber: boolean;

  /** If it throws, nothing has changed hands. `name` is the caller's argument. */
  constructor(name: string, fh: FdLike) {
    this.#wasNumber = !(fh instanceof OwnedFd);
    this.#owned = takeOver(name, fh);
    give(this.#owned);
  }

  get fd(): number {
    return lentNumber(this.#owned);
  }

  get unread(): Buffer | undefined {
    return this.#owned.unread;
  }

  /** Throws `ERR_FDPASSER_UNREAD` when bytes that its sender had read would be missed. */
  refuseUnread(): void {
    if (this.unread !== undefined) throw unreadHere(this.unread.length);
  }

  /** Somebody else is about to have it as well: to close it is not to end it. */
  share(): void {
    share(this.#owned);
  }

  close(): void {
    this.#owned.close();
    endLoan(this.#owned);
  }

  /** The caller owns it again, in the form in which it came. */
  giveBack(): void {
    giveBack(this.#owned);
    if (this.#wasNumber && !this.#owned.closed) letOut(this.#owned);
  }

  /** Ends the custody with a new owner. Throws `ERR_FDPASSER_LENT`, changing nothing, while a send needs it. */
  own(): OwnedFd {
    return moveOut(this.#owned);
  }
}
