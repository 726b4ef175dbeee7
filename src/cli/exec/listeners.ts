import { closeSync, existsSync } from 'node:fs';
import type { OwnedFd } from '../../index.js';
import { attempt } from '../../common/attempt.js';
import { placeOf, type Place } from '../../endpoint/path.js';
import { collide } from '../../takeover/listeners/wanted.js';

/** About a path. */
const PATH_REMOVED =
  'was removed and is bound anew: what waited there is lost, and other processes that listen there are not found. A ' +
  'program need not remove it, because a dead socket is replaced';

/** A process that uses listeners. */
export interface User {
  /** It has ended, or is to. */
  readonly gone: boolean;
}

interface Kept {
  socket: OwnedFd | undefined;
  /** The path, which is removed with the socket. */
  place: Place | undefined;
  /** Another process had removed the path before this one looked. */
  isLost: boolean;
  /** Who binds it. */
  binder: User | undefined;
  readonly users: Set<User>;
  /** Those that ended while they used it. Their worker may not have ended yet. */
  died: User[];
  /** Called when somebody has bound it, or could not. */
  readonly waiting: (() => void)[];
}

/**
 * The listeners of the program. One of its processes binds each, and the others share it. They outlive every process,
 * so what waits in a backlog is not lost.
 */
export class Listeners {
  readonly #kept = new Map<string, Kept>();

  /** Resolves with the listener of that name, or with `undefined` for who is to bind it. */
  async get(name: string, user: User): Promise<OwnedFd | undefined> {
    let kept = this.#named(name);
    while (kept.socket === undefined && kept.binder !== undefined) {
      const { waiting } = kept;
      await new Promise<void>((resolve) => waiting.push(resolve));
      kept = this.#named(name);
    }
    if (user.gone) {
      this.#settle(name, kept);
      return undefined;
    }
    if (kept.isLost || kept.place?.isHeld() === false) {
      console.error(`fdpasser: ${name.slice('unix:'.length)} ${PATH_REMOVED}.`);
      this.#close(kept);
    }
    kept.users.add(user);
    if (kept.socket === undefined) {
      kept.binder = user;
      this.#makeRoom(name);
    }
    return kept.socket;
  }

  /** Closes what waits for the next process, if that wants another host of the port instead. */
  #makeRoom(name: string): void {
    for (const [other, kept] of this.#kept) {
      if (kept.users.size > 0 || !collide(name, other)) continue;
      this.#kept.delete(other);
      this.#close(kept);
    }
  }

  /** The process has bound it, and sees paths below `root`. */
  keep(name: string, user: User, socket: OwnedFd, root: string): void {
    const kept = this.#named(name);
    if (kept.binder !== user) return socket.close();
    kept.socket = socket;
    kept.binder = undefined;
    if (/^unix:[^\0]/.test(name)) {
      const path = name.slice('unix:'.length);
      kept.place = placeOf(path);
      kept.isLost = kept.place === undefined && !existsSync(`${root}${path}`);
    }
    this.#settle(name, kept);
  }

  /** The process does not use it any more, or could not bind it. */
  drop(name: string, user: User): void {
    const kept = this.#kept.get(name);
    if (kept?.users.delete(user) !== true) return;
    if (kept.binder === user) kept.binder = undefined;
    if (kept.users.size === 0) this.#close(kept);
    this.#settle(name, kept);
  }

  /** The process has ended, or is to. What it alone used waits for the next one. */
  left(user: User): void {
    for (const [name, kept] of this.#kept) {
      if (kept.users.delete(user)) kept.died.push(user);
      if (kept.binder === user) kept.binder = undefined;
      this.#settle(name, kept);
    }
  }

  /** Closes those that none of these processes uses, or used when it ended. */
  closeUnused(isMeant: (user: User) => boolean): void {
    for (const [name, kept] of this.#kept) {
      kept.died = kept.died.filter(isMeant);
      if (kept.socket !== undefined && kept.died.length === 0 && ![...kept.users].some(isMeant)) {
        this.#kept.delete(name);
        this.#close(kept);
      }
    }
  }

  close(): void {
    for (const kept of this.#kept.values()) this.#close(kept);
    this.#kept.clear();
  }

  #named(name: string): Kept {
    let kept = this.#kept.get(name);
    if (kept === undefined) {
      kept = {
        socket: undefined,
        place: undefined,
        isLost: false,
        binder: undefined,
        users: new Set(),
        died: [],
        waiting: [],
      };
      this.#kept.set(name, kept);
    }
    return kept;
  }

  #settle(name: string, kept: Kept): void {
    if (kept.socket === undefined && kept.binder === undefined && kept.users.size === 0) this.#kept.delete(name);
    for (const go of kept.waiting.splice(0)) go();
  }

  #close(kept: Kept): void {
    attempt(() => kept.place?.leave());
    if (kept.socket !== undefined) closeNow(kept.socket);
    kept.socket = kept.place = undefined;
    kept.isLost = false;
  }
}

/** Before another process is told to bind it. `close()` may be later, as for whatever a peer has sent. */
function closeNow(socket: OwnedFd): void {
  try {
    closeSync(socket.take());
  } catch {
    socket.close(); // it is being lent
  }
}
