import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { socketpair } from '../endpoint/pair.js';
import { attempt } from '../common/attempt.js';
import { notAPair } from '../errors.js';
import { SOCKET_TYPES } from '../native/kinds.js';
import { takeSocket } from '../wire/socket.js';

/** Both ends of a pair, until this process knows which is its own. */
export class UndecidedPair {
  #parentEnd: Custody | undefined;
  readonly peer: OwnedFd;

  constructor(parentEnd: Custody, peer: OwnedFd) {
    this.#parentEnd = parentEnd;
    this.peer = peer;
  }

  /** The one end, for a new owner; closes the other. Throws `ERR_FDPASSER_NOT_A_PAIR` when one was chosen before. */
  chooseParent(): Custody {
    const parentEnd = this.#unchosen();
    this.#parentEnd = undefined;
    attempt(() => this.peer.close());
    return parentEnd;
  }

  /** The reverse. */
  chooseChild(): Custody {
    const parentEnd = this.#unchosen();
    const childEnd = new Custody('peer', this.peer);
    parentEnd.close();
    this.#parentEnd = undefined;
    return childEnd;
  }

  close(): void {
    this.#parentEnd?.close();
    this.#parentEnd = undefined;
    this.peer.close();
  }

  #unchosen(): Custody {
    if (this.#parentEnd === undefined) throw notAPair();
    return this.#parentEnd;
  }
}

/** Makes a new pair. If it throws, none is open. */
export function newPair(keepBlocking: boolean): UndecidedPair {
  const [one, other] = socketpair();
  try {
    return takePair(one, other, keepBlocking);
  } catch (error) {
    one.close();
    other.close();
    throw error;
  }
}

/** Takes both ends over. If it throws, nothing was taken. */
export function takePair(one: FdLike, other: FdLike, keepBlocking: boolean): UndecidedPair {
  const terms = { types: SOCKET_TYPES, keepBlocking };
  return takeSocket('options.fh', one, terms, (ours) =>
    takeSocket('options.fh', other, terms, (theirs) => new UndecidedPair(ours, theirs.own())),
  );
}
