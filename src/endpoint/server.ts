import { constants } from 'node:os';
import { ABORTABLE, abortable, type Abortable } from '../common/abort.js';
import { checkBoolean, checkOptions, invalidReturn, invalidType, type Names } from '../common/arguments.js';
import { iterate } from '../common/iterate.js';
import { builtin } from '../common/lazy-modules.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { ownMade, type OwnedFd } from '../descriptor/owned-fd.js';
import { checked, systemError } from '../errors.js';
import { addon } from '../native/load.js';
import { isAbstract, SUN_PATH } from './address.js';
import { peerCredentials, type PeerCredentials } from './credentials.js';
import { Accepter, Feed, Listening, type Feeding } from './listening.js';
import { placeOf, type Place } from './path.js';

export interface ServerOptions {
  /**
   * Says who may connect, by what the kernel tells of the peer. It must return `true` or `false`, and no promise.
   * Refused peers are closed at once, and receive nothing. Default: only this process's own effective user may connect.
   */
  allow?: ((peer: PeerCredentials) => boolean) | undefined;
}

export interface AdoptOptions extends ServerOptions {
  /**
   * Whether the server takes over the path too. Then `close` removes it if it still leads to the socket that is there
   * now. Default false.
   */
  ownsPath?: boolean | undefined;
}

const ADOPT: Names<AdoptOptions> = { allow: true, ownsPath: true };

const { EINVAL } = constants.errno;

/** Milliseconds between two duplicates of a datagram socket, in a loop over them. */
const PACE = 5;

/**
 * A listening AF_UNIX socket. It is made by `listen`, or by `from` for a socket that somebody else made. It accepts a
 * connection only when asked to. The other connections wait in the kernel's backlog.
 */
export class FdServer {
  /** The path as it was given to `listen`, or as the socket was bound. Empty if it has none. */
  readonly path: string;
  readonly #listening: Listening<OwnedFd>;
  /** Says who may connect. `undefined` for a datagram socket, which has no connections. */
  readonly #allow: Allow | undefined;
  /** The path, if this server is to remove it. */
  readonly #place: Place | undefined;

  /** @internal If it throws, the custody of the socket has not ended. */
  constructor(path: string, socket: Custody, allow: Allow | undefined, place?: Place) {
    this.path = path;
    this.#allow = allow;
    this.#place = place;
    this.#listening = new Listening(path, socket, (listener) => {
      const result = addon.accept(listener);
      if (result >= 0) this.#greet(ownMade(result));
      return Math.min(result, 1);
    });
  }

  /**
   * Makes a server of a listening socket that was received, was inherited or came from a service manager. The server
   * owns the descriptor from now on. It makes it close-on-exec, and non-blocking for all who share the socket. `close`
   * leaves the path to whoever bound it, unless `ownsPath` is set.
   *
   * Throws `ENOTSOCK`, `EAFNOSUPPORT` (no AF_UNIX socket), `EINVAL` (it does not listen), `EEXIST` (something else in
   * this thread watches it), or an error of `FdPasser` for what is no descriptor. The descriptor is then still yours.
   */
  static from(fd: FdLike, options: AdoptOptions = {}): FdServer {
    const allow = checkAllow(checkOptions(options, ADOPT));
    const { ownsPath = false } = options;
    checkBoolean('options.ownsPath', ownsPath);
    const socket = new Custody('fd', fd);
    try {
      checkListens(socket.fd);
      checked(addon.closeOnExec(socket.fd), 'fcntl');
      checked(addon.setNonblocking(socket.fd), 'fcntl');
      const path = nameOf(socket.fd);
      const place = ownsPath && path !== '' && !isAbstract(path) ? placeOf(path) : undefined;
      return new this(path, socket, allow, place);
    } catch (error) {
      socket.giveBack();
      throw error;
    }
  }

  /** The number of the listening socket, for borrowing (to send it with `keepOpen`, say). `-1` once closed. */
  get fd(): number {
    return this.#listening.socket.fd;
  }

  /** @internal Whether its path leads here, or is none of its own. */
  get isFound(): boolean {
    return this.#place?.isHeld() ?? true;
  }

  /**
   * Returns the next connection. It is close-on-exec, non-blocking, and yours to close. For a datagram socket it
   * returns a duplicate of the socket, which is for one passer.
   *
   * Keeps the event loop alive while it waits. While there is no free descriptor slot, connections stay in the backlog,
   * and are accepted when there is one. Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (this loses no connection),
   * or the system's error: `EINVAL` if somebody who shares the socket has shut it down.
   */
  accept(options: Abortable = {}): Promise<OwnedFd> {
    return abortable(options, ABORTABLE, (resolve, reject) => {
      this.#listening.checkOpen();
      if (this.#hasConnections) return this.#listening.wait(new Accepter(resolve, reject));
      const duplicate = this.#listening.socket.dup();
      setImmediate(() => resolve(duplicate)); // so that the event loop turns even if somebody asks again and again
      return () => {}; // it cannot be cancelled any more
    });
  }

  /** @internal Gives connections to `take` as they come, while there is room. What `allow` throws is for `refused`. */
  feed(
    room: () => number,
    take: (connection: OwnedFd) => void,
    fail: (error: Error) => void,
    refused: (error: Error) => void,
  ): Feeding {
    return this.#listening.feed(new Feed(take, fail, room, refused));
  }

  /**
   * The connections as they come, until the server is closed. A datagram socket has none: the loop gets another
   * duplicate of it every few milliseconds. Call `accept` once for that.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<OwnedFd> {
    const next = this.#hasConnections ? (signal: AbortSignal) => this.accept({ signal }) : this.#paced();
    return iterate(next, () => this.#listening.closed);
  }

  /** A datagram socket has no connections: what is sent to it comes to the socket itself. */
  get #hasConnections(): boolean {
    return this.#allow !== undefined;
  }

  /**
   * Returns duplicates at intervals. They are always at hand, so without a pause a loop over them would never let the
   * event loop turn.
   */
  #paced(): (signal: AbortSignal) => Promise<OwnedFd> {
    let due = 0;
    return async (signal) => {
      const early = due - performance.now();
      if (early > 0) await builtin.timers.setTimeout(early, undefined, { signal });
      due = performance.now() + PACE;
      return this.accept({ signal });
    };
  }

  /**
   * Takes the listening socket out, for another process or `FdServer.from`. It is yours to close. It goes on listening,
   * what is in its backlog stays there, and its path stays for whoever adopts it with `ownsPath`. This server is
   * closed. Throws `ERR_FDPASSER_CLOSED` if it was closed before.
   */
  detach(): OwnedFd {
    this.#listening.checkOpen();
    this.#listening.stop();
    return this.#listening.socket;
  }

  /**
   * Stops listening, and removes the path if it still leads to this server. Connections that were accepted stay open.
   * Closing again does nothing.
   */
  close(): void {
    if (!this.#listening.stop()) return;
    try {
      this.#place?.leave();
    } finally {
      this.#listening.close();
    }
  }

  /** `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #greet(connection: OwnedFd): void {
    try {
      if (!this.#mayEnter(peerCredentials(connection)) || !this.#listening.deliver(connection)) connection.close();
    } catch (error) {
      connection.close();
      this.#listening.refuse(error as Error);
    }
  }

  #mayEnter(peer: PeerCredentials): boolean {
    const verdict: unknown = this.#allow!(peer);
    if (typeof verdict === 'boolean') return verdict;
    if (!builtin.util.types.isPromise(verdict)) throw invalidReturn('options.allow', 'true or false', verdict);
    verdict.catch(() => {}); // its result would come too late
    throw invalidReturn('options.allow', 'true or false, and no promise', verdict);
  }
}

type Allow = (peer: PeerCredentials) => boolean;

/** @internal */
export function checkAllow({ allow = sameUser }: ServerOptions): Allow {
  if (typeof allow !== 'function') throw invalidType('options.allow', 'a function', allow);
  return allow;
}

function sameUser(peer: PeerCredentials): boolean {
  return peer.uid === process.geteuid?.();
}

function checkListens(fd: number): void {
  const type = addon.socketType(fd);
  if (type === -EINVAL) return; // it listens
  const advice = 'This is no listening AF_UNIX socket: only such a one has connections to accept';
  throw systemError(type < 0 ? type : -EINVAL, 'accept', { advice });
}

/** The path or abstract name of a socket. Empty if it has none. */
function nameOf(fd: number): string {
  const name = Buffer.alloc(SUN_PATH);
  return name.toString('utf8', 0, checked(addon.name(fd, name), 'getsockname'));
}
