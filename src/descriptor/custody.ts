import { unreadHere } from '../errors.js';
import { takeOver, type FdLike } from './fd-like.js';
import { OwnedFd } from './owned-fd.js';
import { ownership } from './ownership.js';

/** The socket of a link or server. It was taken over from a caller, and can still be given back to that caller. */
export class Custody {
  readonly #owned: OwnedFd;

  /** If it throws, the caller still owns the socket. `name` is the caller's name for the argument. */
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

  /** Throws `ERR_FDPASSER_UNREAD` if the socket's sender had read bytes from it, because they would be lost here. */
  refuseUnread(): void {
    if (this.unread !== undefined) throw unreadHere(this.unread.length);
  }

  /**
   * Says that something else refers to this as long as the socket is open, so that nobody need watch whether it is
   * garbage-collected.
   */
  keep(): void {
    ownership.keep(this.#owned);
  }

  close(): void {
    this.#owned.close();
    ownership.endLoan(this.#owned);
  }

  /** Gives the socket back to the caller, in the form in which it came. */
  giveBack(): void {
    ownership.giveBack(this.#owned);
  }

  /**
   * Ends the custody, and returns a new owner. Throws `ERR_FDPASSER_LENT` and changes nothing while a send needs the
   * socket.
   */
  own(): OwnedFd {
    return ownership.moveOut(this.#owned);
  }
}
