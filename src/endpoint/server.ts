import {
  chmodSync,
  closeSync,
  constants as flags,
  fstatSync,
  lstatSync,
  openSync,
  rmSync,
  unlinkSync,
  type BigIntStats,
} from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { abortable, type Abortable } from '../abort.js';
import { ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { warnFull } from '../descriptor/shortage.js';
import { forgetSlot, whenSlotFreed, type SlotWaiter } from '../descriptor/table.js';
import {
  checked,
  checkInteger,
  checkOptions,
  closed,
  invalidReturn,
  invalidType,
  invalidValue,
  systemError,
} from '../errors.js';
import { READABLE, STOPPED, type Watch } from '../native/addon.js';
import { builtin } from '../native/builtin.js';
import { addon } from '../native/load.js';
import { iterate } from '../iterate.js';
import { Queue, Queued } from '../queue.js';
import { address, isAbstract } from './address.js';
import { peerCredentials, type PeerCredentials } from './credentials.js';
import { typeNumber, type SocketType } from './type.js';

export interface ListenOptions {
  /** How many connections may wait to be accepted, at most the system's `somaxconn` (listen(2)). Default 511. */
  backlog?: number;
  /** The permissions of the path. From its first instant it has none beyond these. Default 0o600. */
  mode?: number;
  /** Default `'stream'`. A datagram socket has no connections: `accept` gives the socket itself. */
  type?: SocketType;
  /**
   * Who may connect, by the kernel's word. Others are closed at once, having received nothing. Default: this process's
   * own effective user alone. Not for datagrams, which come without a word of the kernel: `mode` says who may send.
   */
  allow?: (peer: PeerCredentials) => boolean;
}

const { EAGAIN, EADDRINUSE, ECONNABORTED, ECONNREFUSED, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM } = constants.errno;

// Milliseconds, as in Link: connections wait in the backlog while this process has no slot for them.
const FIRST_RETRY = 50;
const RETRY = 500;
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
  const { backlog = 511, mode = 0o600, type = 'stream', allow = sameUser } = checkOptions(options);
  if (typeof allow !== 'function') throw invalidType('options.allow', 'a function', allow);
  if (type === 'dgram' && options.allow !== undefined)
    throw invalidValue('options.allow', 'left out for datagrams', allow);
  const bind = {
    type: typeNumber(type),
    mode: checkInteger('options.mode', mode, 0, 0o777),
    backlog: checkInteger('options.backlog', backlog, 0, 0x7fffffff),
  };
  const [fd, stats] = isAbstract(path) ? [bindAbstract(path, bind), undefined] : bindPath(path, bind);
  const listener = ownReceived(fd);
  try {
    return new FdServer(path, listener, stats, type === 'dgram' ? undefined : allow);
  } catch (error) {
    if (stats !== undefined) unlinkSync(path);
    listener.close();
    throw error;
  }
}

/** A listening AF_UNIX socket, made by `listen`. It accepts when it is asked to; the rest waits in the kernel's backlog. */
export class FdServer {
  /** As given to `listen`. */
  readonly path: string;
  readonly #listener: OwnedFd;
  readonly #stats: BigIntStats | undefined;
  /** Nobody is asked for a datagram socket. */
  readonly #allow: ((peer: PeerCredentials) => boolean) | undefined;
  readonly #waiting = new Queue<Accepter>();
  #watch: Watch | undefined;
  #watching = false;
  #timer: NodeJS.Timeout | undefined;
  #full = false;

  /** @internal */
  constructor(
    path: string,
    listener: OwnedFd,
    stats: BigIntStats | undefined,
    allow: ((peer: PeerCredentials) => boolean) | undefined,
  ) {
    this.path = path;
    this.#listener = listener;
    this.#stats = stats;
    this.#allow = allow;
    const watch = addon.watch(listener.fd, (events) => this.#onEvents(events));
    if (typeof watch === 'number') throw systemError(watch, 'epoll_ctl');
    this.#watch = watch;
  }

  /** The listening socket, for borrowing (to send it with `keepOpen`, say). `-1` once closed. */
  get fd(): number {
    return this.#listener.fd;
  }

  /**
   * The next connection, close-on-exec and non-blocking; yours to close. (Of a datagram socket, a duplicate of the socket:
   * give it to one passer.) Keeps the event loop alive while it waits.
   * While there is no free descriptor slot, connections wait in the backlog and are accepted when there is one.
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (no connection is lost by it), or the system's error.
   */
  accept(options: Abortable = {}): Promise<OwnedFd> {
    return abortable(options, (resolve, reject) => {
      if (this.#watch === undefined) throw closed('server', 'close() was called');
      if (this.#allow === undefined) {
        const duplicate = this.#listener.dup();
        process.nextTick(() => resolve(duplicate));
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
    const next = this.#allow === undefined ? this.#paced() : (signal: AbortSignal) => this.accept({ signal });
    return iterate(next, () => this.#watch === undefined);
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
    this.#stopTimer();
    try {
      if (this.#stats !== undefined && isSame(this.path, this.#stats)) rmSync(this.path, { force: true });
    } finally {
      this.#listener.close();
      for (let next = this.#waiting.shift(); next; next = this.#waiting.shift())
        next.fail(closed('server', 'close() was called'));
    }
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
      const result = addon.accept(this.fd);
      if (result >= 0) {
        this.#full = false;
        this.#greet(ownReceived(result));
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
      this.#waiting.shift()!.fail(systemError(result, 'accept', { path: this.path }));
      return;
    }
    if (FULL.has(-result)) warnFull(`A connection to '${this.path.replace('\0', '@')}'`, { least: 1, most: 1 });
    this.#timer = setTimeout(() => this.#waiter.tryAgain(), this.#full ? RETRY : FIRST_RETRY);
    this.#full = true;
    whenSlotFreed(this.#waiter);
  }

  readonly #waiter: SlotWaiter = {
    tryAgain: () => {
      this.#stopTimer();
      this.#accept();
    },
  };

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    forgetSlot(this.#waiter);
  }

  #settle(): void {
    if (this.#watch === undefined) return;
    const watching = this.#waiting.length > 0 && this.#timer === undefined;
    if (watching === this.#watching) return;
    checked(addon.watchFor(this.#watch, watching ? READABLE : 0), 'epoll_ctl');
    addon.keepAlive(this.#watch, watching);
    this.#watching = watching;
  }
}

/** Not in Node's table: a descriptor for the file itself, whatever it is (open(2)). */
const O_PATH = 0o10000000;

const FULL = new Set<number>([EMFILE, ENFILE]);
const NO_ROOM = new Set<number>([...FULL, ENOBUFS, ENOMEM]);

function sameUser(peer: PeerCredentials): boolean {
  return peer.uid === process.geteuid?.();
}

// ---- the path of a listener

interface Bind {
  type: number;
  mode: number;
  backlog: number;
}

function bindAbstract(path: string, { type, mode, backlog }: Bind): number {
  return checked(addon.listen(type, address(path, 'bind'), mode, backlog), 'bind', { path });
}

/** Binds the path, replacing a dead socket. Of processes that replace the same one at the same time, one comes first. */
function bindPath(path: string, bind: Bind): [fd: number, stats: BigIntStats] {
  for (;;) {
    const fd = addon.listen(bind.type, address(path, 'bind'), bind.mode, bind.backlog);
    if (fd >= 0) return [fd, bound(fd, path, bind.mode)];
    if (fd === -ENOENT) throw systemError(fd, 'bind', { path, advice: 'The folder must be there' });
    if (fd !== -EADDRINUSE) throw systemError(fd, 'bind', { path });
    const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (found === undefined) continue;
    if (!found.isSocket()) throw inUse(path, 'Something that is not a socket is there, and stays there');
    if (isAlive(path)) throw inUse(path, 'A socket in use is there');
    removeDead(path, found);
  }
}

/** The path as it was bound, with its whole mode: bind takes the umask's bits away. */
function bound(fd: number, path: string, mode: number): BigIntStats {
  try {
    const stats = lstatSync(path, { bigint: true });
    if (Number(stats.mode & 0o777n) !== mode) widen(path, stats, mode);
    return stats;
  } catch (error) {
    addon.close(fd);
    throw error;
  }
}

/** Sets the mode of this socket alone, and not of what somebody has put in its place. */
function widen(path: string, { dev, ino }: BigIntStats, mode: number): void {
  const socket = openSync(path, O_PATH | flags.O_NOFOLLOW);
  try {
    const found = fstatSync(socket, { bigint: true });
    if (found.dev !== dev || found.ino !== ino || !found.isSocket() || Number(found.uid) !== process.geteuid?.())
      throw inUse(path, 'Something else has taken its place');
    chmodSync(`/proc/self/fd/${socket}`, mode);
  } finally {
    closeSync(socket);
  }
}

/**
 * Asks the kernel, without a connection that its owner would have to accept: a datagram socket cannot be connected to a
 * stream, but only a socket that nobody has open refuses.
 */
function isAlive(path: string): boolean {
  const result = addon.connect(typeNumber('dgram'), address(path, 'connect'));
  if (result >= 0) addon.close(result);
  return result !== -ECONNREFUSED && result !== -ENOENT;
}

/**
 * Removes a dead socket. Of the processes that do this at the same time one does it; the others must not remove what that
 * one has bound there meanwhile.
 */
function removeDead(path: string, dead: BigIntStats): void {
  const folder = openSync(dirname(path), 'r');
  try {
    const locked = addon.lock(folder);
    if (locked === -EAGAIN) throw inUse(path, 'Another process is replacing the dead socket there');
    checked(locked, 'flock', { path });
    if (isSame(path, dead) && !isAlive(path)) unlinkSync(path);
  } finally {
    closeSync(folder);
  }
}

function inUse(path: string, advice: string): Error {
  return systemError(-EADDRINUSE, 'bind', { path, advice });
}

function isSame(path: string, stats: BigIntStats): boolean {
  const there = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return there !== undefined && there.dev === stats.dev && there.ino === stats.ino;
}
