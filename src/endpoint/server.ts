import { constants } from 'node:os';
import { abortable, type Abortable } from '../common/abort.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { lentNumber, ownMade, type OwnedFd } from '../descriptor/owned-fd.js';
import { warnFull } from '../descriptor/shortage.js';
import { SlotRetry } from '../descriptor/slot-retry.js';
import { attempt } from '../common/attempt.js';
import { checkInteger, checkOptions, invalidReturn, invalidType, invalidValue } from '../common/arguments.js';
import { checked, closed, systemError } from '../errors.js';
import { READABLE, STOPPED, type Watch } from '../native/addon.js';
import { builtin } from '../common/lazy-modules.js';
import { addon } from '../native/load.js';
import { iterate } from '../common/iterate.js';
import { Queue, Queued } from '../common/queue.js';
import { address, isAbstract, SUN_PATH } from './address.js';
import { peerCredentials, type PeerCredentials } from './credentials.js';
import { bindPath, type Bind, type Place } from './path.js';
import { typeNumber, type SocketType } from '../native/kinds.js';

export interface ServerOptions {
  /**
   * Who may connect, by the kernel's word: `true` or `false`, at once. Others are closed at once, having received nothing.
   * Default: this process's own effective user alone.
   */
  allow?: (peer: PeerCredentials) => boolean;
}

export interface ListenOptions extends ServerOptions {
  /** How many connections may wait to be accepted, at most the system's `somaxconn` (listen(2)). Default 511. */
  backlog?: number;
  /** The permissions of the path. From its first instant it has none beyond these. Default 0o600. */
  mode?: number;
  /** Default `'stream'`. A datagram socket has no connections: `accept` gives the socket itself. */
  type?: SocketType;
  /** Not for datagrams, which come without a word of the kernel: `mode` says who may send. */
  allow?: (peer: PeerCredentials) => boolean;
}

const { EAGAIN, EBADF, ECONNABORTED, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM } = constants.errno;

/** How many connections one turn of the event loop looks at: those who are refused may be faster than this process. */
const ROUNDS = 16;

/** Milliseconds from one duplicate of a datagram socket to the next, in a loop over them. */
const PACE = 5;

class Accepter extends Queued {
  constructor(
    readonly deliver: (fd: OwnedFd) => void,
    readonly fail: (error: Error) => void,
  ) {
    super();
  }
}

/**
 * Listens on an AF_UNIX socket at `path`; a path that starts with NUL is an abstract name.
 *
 * A socket file that nobody listens on any more is replaced. `EADDRINUSE` is thrown for one that is in use and for
 * whatever is not a socket; also `EACCES`, `ENOENT`, `ENAMETOOLONG`, `EMFILE`, each with the path.
 */
export function listen(path: string, options: ListenOptions = {}): FdServer {
  address(path, 'bind');
  const { backlog = 511, mode = 0o600, type = 'stream' } = checkOptions(options);
  const allow = checkAllow(options);
  if (type === 'dgram' && options.allow !== undefined)
    throw invalidValue('options.allow', 'left out for datagrams', allow);
  const bind = {
    type: typeNumber(type),
    mode: checkInteger('options.mode', mode, 0, 0o777),
    backlog: checkInteger('options.backlog', backlog, 0, 0x7fffffff),
  };
  const [fd, place] = isAbstract(path) ? [bindAbstract(path, bind), undefined] : bindPath(path, bind);
  const socket = new Custody('fd', ownMade(fd));
  try {
    return new FdServer(path, socket, type === 'dgram' ? undefined : allow, place);
  } catch (error) {
    place?.leave();
    socket.close();
    throw error;
  }
}

/**
 * A listening AF_UNIX socket, made by `listen`, or by `from` of one that somebody else made. It accepts when it is asked
 * to; the rest waits in the kernel's backlog.
 */
export class FdServer {
  /** As given to `listen`, or to whoever bound the socket. */
  readonly path: string;
  readonly #listener: OwnedFd;
  /** Who may connect. A datagram socket has no connections, so nobody is asked. */
  readonly #allow: Allow | undefined;
  /** The path, if it is this server's to take away. */
  readonly #place: Place | undefined;
  readonly #waiting = new Queue<Accepter>();
  #watch: Watch | undefined;
  #watching = false;
  /** Connections wait in the backlog while this process has no slot for them. */
  readonly #retry = new SlotRetry(() => this.#accept());

  /** @internal If it throws, the socket still is in custody. */
  constructor(path: string, socket: Custody, allow: Allow | undefined, place?: Place) {
    this.path = path;
    this.#allow = allow;
    this.#place = place;
    const watch = addon.watch(socket.fd, (events) => this.#onEvents(events));
    if (typeof watch === 'number') throw systemError(watch, 'epoll_ctl');
    try {
      this.#listener = socket.own();
    } catch (error) {
      addon.unwatch(watch);
      throw error;
    }
    this.#watch = watch;
  }

  /**
   * A server over a listening socket that was received, inherited or came from a service manager. It owns the descriptor
   * from now on, and makes it close-on-exec and non-blocking: the latter for all who share the socket. `close` leaves the
   * path alone, which is whoever's who bound it.
   *
   * Throws `ENOTSOCK`, `EAFNOSUPPORT` (no AF_UNIX socket), `EINVAL` (it does not listen), `EEXIST` (something else in this
   * thread watches it), or as `FdPasser` does for what is no descriptor; nothing has changed hands then.
   */
  static from(fd: FdLike, options: ServerOptions = {}): FdServer {
    const allow = checkAllow(checkOptions(options));
    const socket = new Custody('fd', fd);
    try {
      checkListens(socket.fd);
      checked(addon.closeOnExec(socket.fd), 'fcntl');
      checked(addon.setNonblocking(socket.fd), 'fcntl');
      return new this(nameOf(socket.fd), socket, allow);
    } catch (error) {
      socket.giveBack();
      throw error;
    }
  }

  /** The listening socket, for borrowing (to send it with `keepOpen`, say). `-1` once closed. */
  get fd(): number {
    return this.#listener.fd;
  }

  /**
   * The next connection, close-on-exec and non-blocking; yours to close. (Of a datagram socket, a duplicate of the socket:
   * give it to one passer.) Keeps the event loop alive while it waits.
   * While there is no free descriptor slot, connections wait in the backlog and are accepted when there is one.
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (no connection is lost by it), or the system's error: `EINVAL` when
   * somebody who shares the socket has shut it down.
   */
  accept(options: Abortable = {}): Promise<OwnedFd> {
    return abortable(options, (resolve, reject) => {
      if (this.#watch === undefined) throw closed('server', 'close() was called');
      if (!this.#hasConnections) {
        const duplicate = this.#listener.dup();
        setImmediate(() => resolve(duplicate)); // whoever asks again and again lets the loop turn
        return () => {}; // too late
      }
      const accepter = new Accepter(resolve, reject);
      this.#waiting.push(accepter);
      this.#settle();
      return (error) => {
        if (!this.#waiting.remove(accepter)) return;
        reject(error);
        this.#settle();
      };
    });
  }

  /**
   * Connections as they come, until the server is closed. (A datagram socket has none: another duplicate of it each time,
   * every few milliseconds. Call `accept` once for that.)
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<OwnedFd> {
    const next = this.#hasConnections ? (signal: AbortSignal) => this.accept({ signal }) : this.#paced();
    return iterate(next, () => this.#watch === undefined);
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
   * Stops listening; connections already accepted go on. Removes the path if it still is this server's own. Closing again
   * does nothing.
   */
  close(): void {
    if (this.#watch === undefined) return;
    addon.unwatch(this.#watch);
    this.#watch = undefined;
    this.#retry.stop();
    this.#failAll(closed('server', 'close() was called'));
    try {
      this.#place?.leave();
    } finally {
      attempt(() => this.#listener.close());
    }
  }

  #failAll(error: Error): void {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) next.fail(error);
  }

  /** `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #onEvents(events: number): void {
    if (events & STOPPED) this.#watching = false;
    this.#accept();
  }

  #accept(): void {
    for (let round = 0; round < ROUNDS && this.#watch !== undefined && this.#waiting.length > 0; round++) {
      const result = addon.accept(lentNumber(this.#listener));
      if (result >= 0) {
        this.#retry.room();
        this.#greet(ownMade(result));
      } else if (result === -EAGAIN) break;
      else if (result !== -ECONNABORTED) {
        this.#failed(result);
        break;
      }
    }
    this.#settle();
  }

  #greet(connection: OwnedFd): void {
    try {
      const accepter = this.#mayEnter(peerCredentials(connection)) ? this.#waiting.shift() : undefined;
      if (accepter === undefined) connection.close();
      else accepter.deliver(connection);
    } catch (error) {
      connection.close();
      this.#waiting.shift()?.fail(error as Error);
    }
  }

  #mayEnter(peer: PeerCredentials): boolean {
    const verdict: unknown = this.#allow!(peer);
    if (typeof verdict === 'boolean') return verdict;
    if (!builtin.util.types.isPromise(verdict)) throw invalidReturn('options.allow', 'true or false', verdict);
    verdict.catch(() => {}); // whatever becomes of it, it comes too late
    throw invalidReturn('options.allow', 'true or false at once, and no promise of it', verdict);
  }

  #failed(result: number): void {
    if (!NO_ROOM.has(-result)) {
      const shut = result === -EINVAL ? { advice: 'Somebody who shares the socket has shut it down' } : {};
      this.#waiting.shift()!.fail(systemError(result, 'accept', { path: this.path, ...shut }));
      return;
    }
    if (FULL.has(-result)) warnFull(`A connection to '${this.path.replaceAll('\0', '@')}'`, { least: 1, most: 1 });
    this.#retry.full();
  }

  #settle(): void {
    if (this.#watch === undefined) return;
    const watching = this.#waiting.length > 0 && !this.#retry.waits;
    if (watching === this.#watching) return;
    // libuv aborts when it is to watch what it cannot, and somebody else may have closed the socket.
    const result = watching ? addon.listening(lentNumber(this.#listener)) : 1;
    if (result !== 1 || addon.watchFor(this.#watch, watching ? READABLE : 0) < 0) {
      const advice = 'Something else has closed the socket';
      this.#failAll(systemError(-EBADF, 'accept', { path: this.path, advice }));
      return;
    }
    addon.keepAlive(this.#watch, watching);
    this.#watching = watching;
  }
}

const FULL = new Set<number>([EMFILE, ENFILE]);
const NO_ROOM = new Set<number>([...FULL, ENOBUFS, ENOMEM]);

type Allow = (peer: PeerCredentials) => boolean;

function checkAllow({ allow = sameUser }: ServerOptions): Allow {
  if (typeof allow !== 'function') throw invalidType('options.allow', 'a function', allow);
  return allow;
}

function sameUser(peer: PeerCredentials): boolean {
  return peer.uid === process.geteuid?.();
}

function bindAbstract(path: string, { type, mode, backlog }: Bind): number {
  return checked(addon.listen(type, address(path, 'bind'), mode, backlog), 'bind', { path });
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
