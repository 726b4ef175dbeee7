import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { socketpair } from '../endpoint/pair.js';
import { attempt } from '../common/attempt.js';
import { notAPair, sideChosen } from '../errors.js';
import { SOCKET_TYPES } from '../native/kinds.js';
import { takeSocket } from '../wire/socket.js';

/** Both ends of a pair, until this process knows which one is its own. */
export class UndecidedPair {
  readonly #peer: OwnedFd;
  #parentEnd: Custody | undefined;
  #known: boolean;
  #chosenBy: 'iAmParent' | 'iAmChild' | undefined;

  constructor(parentEnd: Custody, peer: OwnedFd, known: boolean) {
    this.#parentEnd = parentEnd;
    this.#peer = peer;
    this.#known = known;
  }

  /**
   * The peer's end. Throws `ERR_FDPASSER_NOT_A_PAIR` if a side was chosen, because then it is closed or is this
   * process's own.
   */
  get peer(): OwnedFd {
    if (this.#chosenBy !== undefined) throw sideChosen(this.#chosenBy);
    this.#known = true;
    return this.#peer;
  }

  /** Whether the application may have given `peer` to a child. */
  get known(): boolean {
    return this.#known;
  }

  /**
   * Returns the parent's end for a new owner, and closes the other. Throws `ERR_FDPASSER_NOT_A_PAIR` if one was chosen
   * before.
   */
  chooseParent(): Custody {
    const parentEnd = this.#unchosen();
    this.#chose('iAmParent');
    attempt(() => this.#peer.close());
    return parentEnd;
  }

  /** Returns the child's end, and closes the other. Throws as `chooseParent` does. */
  chooseChild(): Custody {
    const parentEnd = this.#unchosen();
    const childEnd = new Custody('peer', this.#peer);
    this.#chose('iAmChild');
    parentEnd.close();
    return childEnd;
  }

  close(): void {
    this.#parentEnd?.close();
    this.#parentEnd = undefined;
    this.#peer.close();
  }

  #unchosen(): Custody {
    if (this.#parentEnd === undefined) throw notAPair();
    return this.#parentEnd;
  }

  #chose(method: 'iAmParent' | 'iAmChild'): void {
    this.#parentEnd = undefined;
    this.#chosenBy = method;
  }
}

/** Makes a new pair. If it throws, no end is open. */
export function newPair(keepBlocking: boolean): UndecidedPair {
  const pair = socketpair();
  try {
    return take('fh', pair, keepBlocking, false);
  } catch (error) {
    for (const end of pair) end.close();
    throw error;
  }
}

/** Takes over both ends of the application's pair. If it throws, the application still owns both. */
export function takePair(name: string, pair: readonly [FdLike, FdLike], keepBlocking: boolean): UndecidedPair {
  return take(name, pair, keepBlocking, true);
}

function take(name: string, pair: readonly [FdLike, FdLike], keepBlocking: boolean, known: boolean): UndecidedPair {
  const terms = { types: SOCKET_TYPES, keepBlocking };
  return takeSocket(name, pair[0], terms, (ours) =>
    takeSocket(name, pair[1], terms, (theirs) => new UndecidedPair(ours, theirs.own(), known)),
  );
}
