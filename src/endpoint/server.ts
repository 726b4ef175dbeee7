import { constants } from 'node:os';
import { abortable, type Abortable } from '../common/abort.js';
import { checkBoolean, checkOptions, invalidReturn, invalidType } from '../common/arguments.js';
import { iterate } from '../common/iterate.js';
import { builtin } from '../common/lazy-modules.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { ownMade, type OwnedFd } from '../descriptor/owned-fd.js';
import { checked, systemError } from '../errors.js';
import { addon } from '../native/load.js';
import { isAbstract, SUN_PATH } from './address.js';
import { peerCredentials, type PeerCredentials } from './credentials.js';
import { Accepter, Listening } from './listening.js';
import { placeOf, type Place } from './path.js';

export interface ServerOptions {
  /**
   * Who may connect, by the kernel's word: `true` or `false`, at once. Others are closed at once, having received
   * nothing. Default: this process's own effective user alone.
   */
  allow?: (peer: PeerCredentials) => boolean;
}

export interface AdoptOptions extends ServerOptions {
  /** Take the path over, too: `close` removes it if it is still the one that is there now. Default false. */
  ownsPath?: boolean;
}

const { EINVAL } = constants.errno;

/** Milliseconds from one duplicate of a datagram socket to the next, in a loop over them. */
const PACE = 5;

/**
 * A listening AF_UNIX socket, made by `listen`, or by `from` of one that somebody else made. It accepts when it is
 * asked to; the rest waits in the kernel's backlog.
 */
export class FdServer {
  /** As given to `listen`, or to whoever bound the socket. */
  readonly path: string;
  readonly #listening: Listening<OwnedFd>;
  /** Who may connect. A datagram socket has no connections, so nobody is asked. */
  readonly #allow: Allow | undefined;
  /** The path, if it is this server's to take away. */
  readonly #place: Place | undefined;

  /** @internal If it throws, the socket still is in custody. */
  constructor(path: string, socket: Custody, allow: Allow | undefined, place?: Place) {
    this.path = path;
    this.#allow = allow;
    this.#place = place;
    this.#listening = new Listening(path, socket, (listener) => {
      const result = addon.accept(listener);
      if (result >= 0) this.#greet(ownMade(result));
      return result;
    });
  }

  /**
   * A server over a listening socket that was received, inherited or came from a service manager. It owns the
   * descriptor from now on, and makes it close-on-exec and non-blocking: the latter for all who share the socket.
   * `close` leaves the path alone, which is whoever's who bound it, unless `ownsPath`.
   *
   * Throws `ENOTSOCK`, `EAFNOSUPPORT` (no AF_UNIX socket), `EINVAL` (it does not listen), `EEXIST` (something else in
   * this thread watches it), or as `FdPasser` does for what is no descriptor; nothing has changed hands then.
   */
  static from(fd: FdLike, options: AdoptOptions = {}): FdServer {
    const allow = checkAllow(checkOptions(options));
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

  /** The listening socket, for borrowing (to send it with `keepOpen`, say). `-1` once closed. */
  get fd(): number {
    return this.#listening.socket.fd;
  }

  /**
   * The next connection, close-on-exec and non-blocking; yours to close. (Of a datagram socket, a duplicate of the
   * socket: give it to one passer.) Keeps the event loop alive while it waits. While there is no free descriptor slot,
   * connections wait in the backlog and are accepted when there is one. Rejects with `ERR_FDPASSER_CLOSED`, an
   * `AbortError` (no connection is lost by it), or the system's error: `EINVAL` when somebody who shares the socket has
   * shut it down.
   */
  accept(options: Abortable = {}): Promise<OwnedFd> {
    return abortable(options, (resolve, reject) => {
      this.#listening.checkOpen();
      if (this.#hasConnections) return this.#listening.wait(new Accepter(resolve, reject));
      const duplicate = this.#listening.socket.dup();
      setImmediate(() => resolve(duplicate)); // whoever asks again and again lets the loop turn
      return () => {}; // too late
    });
  }

  /**
   * Connections as they come, until the server is closed. (A datagram socket has none: another duplicate of it each
   * time, every few milliseconds. Call `accept` once for that.)
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<OwnedFd> {
    const next = this.#hasConnections ? (signal: AbortSignal) => this.accept({ signal }) : this.#paced();
    return iterate(next, () => this.#listening.closed);
  }

  /** A datagram socket has none: what is sent to it comes to the socket itself. */
  get #hasConnections(): boolean {
    return this.#allow !== undefined;
  }

  /** What is always there would come without end in one turn of the event loop. */
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
   * Takes the listening socket out, for another process or `FdServer.from`: it listens on, what waits in its backlog
   * waits on, and its path stays, for whoever adopts it with `ownsPath`. This server is closed. Throws
   * `ERR_FDPASSER_CLOSED`.
   */
  detach(): OwnedFd {
    this.#listening.checkOpen();
    this.#listening.stop();
    return this.#listening.socket;
  }

  /**
   * Stops listening; connections already accepted go on. Removes the path if it still is this server's own. Closing
   * again does nothing.
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
      this.#listening.fail(error as Error);
    }
  }

  #mayEnter(peer: PeerCredentials): boolean {
    const verdict: unknown = this.#allow!(peer);
    if (typeof verdict === 'boolean') return verdict;
    if (!builtin.util.types.isPromise(verdict)) throw invalidReturn('options.allow', 'true or false', verdict);
    verdict.catch(() => {}); // whatever becomes of it, it comes too late
    throw invalidReturn('options.allow', 'true or false at once, and no promise of it', verdict);
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
  if (type === -EINVAL) return; // what a passer cannot be made of
  const advice = 'Only a listening AF_UNIX socket brings connections, and this is none';
  throw systemError(type < 0 ? type : -EINVAL, 'accept', { advice });
}

/** The path or abstract name of a socket; empty if it has none. */
function nameOf(fd: number): string {
  const name = Buffer.alloc(SUN_PATH);
  return name.toString('utf8', 0, checked(addon.name(fd, name), 'getsockname'));
}
