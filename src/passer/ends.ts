import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { socketpair } from '../endpoint/pair.js';
import { attempt } from '../common/attempt.js';
import { invalidType } from '../common/arguments.js';
import { checked, notAPair } from '../errors.js';
import { checkSocket } from '../wire/link.js';
import { addon } from '../native/load.js';

/** Both ends of a pair, until this process knows which is its own. */
export class BothEnds {
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

/** Takes a new pair over. If it throws, none is open. */
export function takePair(setNonblocking: boolean): Custody | BothEnds {
  const pair = socketpair();
  try {
    return take(pair, setNonblocking);
  } catch (error) {
    for (const end of pair) end.close();
    throw error;
  }
}

/** Takes one socket over, or two. If it throws, nothing was taken. */
export function take(fh: FdLike | readonly [FdLike, FdLike], setNonblocking: boolean): Custody | BothEnds {
  const given = Array.isArray(fh) ? (fh as readonly FdLike[]) : [fh as FdLike];
  if (Array.isArray(fh) && fh.length !== 2) throw invalidType('options.fh', 'a descriptor, or two', fh);
  const taken: Custody[] = [];
  try {
    for (const end of given) {
      const custody = new Custody('options.fh', end);
      taken.push(custody);
      checkSocket(custody.fd);
      custody.refuseUnread();
      checked(addon.closeOnExec(custody.fd), 'fcntl');
      if (setNonblocking) checked(addon.setNonblocking(custody.fd), 'fcntl');
    }
    const [one, other] = taken as [Custody, Custody?];
    return other === undefined ? one : new BothEnds(one, other.own());
  } catch (error) {
    for (const custody of taken) custody.giveBack();
    throw error;
  }
}
