import { unreadHere } from '../errors.js';
import { takeOver, type FdLike } from './fd-like.js';
import { OwnedFd } from './owned-fd.js';
import { ownership } from './ownership.js';

/** The socket of a link or server, taken over from a caller, to whom it can still be given back. */
export class Custody {
  readonly #owned: OwnedFd;

  /** If it throws, nothing has changed hands. `name` is the caller's argument. */
  constructor(name: string, fh: FdLike) {
    this.#owned = takeOver(name, fh);
    ownership.give(this.#owned, !(fh instanceof OwnedFd));
  }

  get fd(): number {
    return ownership.number(this.#owned);
  }

  get unread(): Buffer | undefined {
    return this.#owned.unread;
  }

  /** Throws `ERR_FDPASSER_UNREAD` when bytes that its sender had read would be missed. */
  refuseUnread(): void {
    if (this.unread !== undefined) throw unreadHere(this.unread.length);
  }

  close(): void {
    this.#owned.close();
    ownership.endLoan(this.#owned);
  }

  /** The caller owns it again, in the form in which it came. */
  giveBack(): void {
    ownership.giveBack(this.#owned);
  }

  /** Ends the custody with a new owner. Throws `ERR_FDPASSER_LENT`, changing nothing, while a send needs it. */
  own(): OwnedFd {
    return ownership.moveOut(this.#owned);
  }
}
