import { constants } from 'node:os';
import { notOpenNumber, ownedAlready } from '../errors.js';
import { addon } from '../native/load.js';
import { numberIn, type FdLike } from './fd-like.js';
import { leaving } from './owned-fd.js';
import { slotFreed } from './table.js';

const { EEXIST } = constants.errno;

/**
 * A number that its owner lends and goes on using. As long as it is lent, in whatever thread, this library closes it nowhere:
 * whoever hands the number over meanwhile has it closed when the last loan is over.
 */
export class Loan {
  readonly #fd: number;
  readonly #identity: number;

  /** Throws `EBADF` when nothing is open there, and `ERR_FDPASSER_OWNED` when a send has it, and will close it. */
  constructor(name: string, fh: FdLike) {
    this.#fd = numberIn(name, fh);
    if (leaving.has(this.#fd)) throw ownedAlready(this.#fd);
    this.#identity = addon.lend(this.#fd);
    if (this.#identity === -EEXIST) throw ownedAlready(this.#fd);
    if (this.#identity < 0) throw notOpenNumber(this.#identity, this.#fd);
  }

  /** -1 when it is another file by now, whose owner has lent nothing. */
  get fd(): number {
    return addon.identity(this.#fd) === this.#identity ? this.#fd : -1;
  }

  end(): void {
    if (addon.endLoan(this.#fd, this.#identity)) slotFreed();
  }
}
