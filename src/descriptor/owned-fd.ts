import type { RemoteInfo, Socket as DatagramSocket } from 'node:dgram';
import { closeSync, fstatSync, type ReadStream, type WriteStream } from 'node:fs';
import type { Server, Socket } from 'node:net';
import {
  checked,
  closedBehind,
  invalidType,
  lentOut,
  notOwned,
  outOfRange,
  ownedAlready,
  systemError,
} from '../errors.js';
import { builtin } from '../native/builtin.js';
import { addon, batch } from '../native/load.js';
import { runtime } from '../native/runtime.js';
import { noteNumber, slotFreed } from './table.js';
import {
  datagramsOf,
  readStreamOf,
  serverOf,
  socketOf,
  writeStreamOf,
  type Nature,
  type ReadStreamOptions,
  type SocketOptions,
  type WriteStreamOptions,
} from './to-node.js';

/** In the order of `enum fdp_kind`. */
const KINDS = [
  'file',
  'directory',
  'fifo',
  'tty',
  'character-device',
  'block-device',
  'tcp',
  'udp',
  'unix-stream',
  'unix-dgram',
  'unix-seqpacket',
  'socket',
  'anonymous',
] as const;

/**
 * What an open file is. `'socket'` is a socket of any other family or type; `'anonymous'` has no file behind it at all
 * (eventfd, epoll, pidfd, …). A memfd is a `'file'`.
 */
export type Kind = (typeof KINDS)[number];

/** `'given'`: a send has it and may still give it back. `'closing'`: closed for its owner, but a send still needs it. */
type State = 'open' | 'given' | 'closing' | 'closed';

const EBADF = -9;
const EEXIST = -17;

// The queues of this library work on an OwnedFd through these; nobody else can.
let ownReceived: (fd: number) => OwnedFd;
let lend: (owned: OwnedFd) => void;
let give: (owned: OwnedFd) => void;
let endLoan: (owned: OwnedFd) => void;
let giveBack: (owned: OwnedFd) => void;
let lentNumber: (owned: OwnedFd) => number;
let moveOut: (owned: OwnedFd) => OwnedFd;
let setUnread: (owned: OwnedFd, bytes: Buffer | undefined) => void;
let register: (owned: OwnedFd) => void;
export { ownReceived, lend, give, endLoan, giveBack, lentNumber, moveOut, setUnread };

/**
 * Exactly one owner of one open descriptor.
 *
 * Whoever has the OwnedFd closes it, hands it to a passer (which closes it once it is sent) or takes the number out. One
 * that is garbage-collected while it is open is closed then, with a process warning. It is close-on-exec unless whoever
 * made the number decided otherwise, and works with whatever takes an object with an `fd`, such as `spawn`'s `stdio`.
 */
export class OwnedFd {
  #fd: number;
  #state: State = 'open';
  #loans = 0;
  #registered = false;
  readonly #trackedByNode: boolean;
  #unread: Buffer | undefined;

  /**
   * Adopts an open descriptor: from now on nobody else may close it.
   *
   * Throws `ERR_INVALID_ARG_TYPE` or `ERR_OUT_OF_RANGE` for what is no descriptor number, `EBADF` when nothing is open
   * there, and `ERR_FDPASSER_OWNED` when the number has an owner in this thread. The number is then still yours.
   */
  constructor(fd: number) {
    const isReceived = received;
    received = false;
    this.#trackedByNode = !isReceived && mayBeTracked(validNumber('fd', fd));
    if (!isReceived) adopt(fd, this.#trackedByNode);
    this.#fd = fd;
    watchForGarbage(this);
  }

  /** The number, for borrowing: whoever gets it must not close it. `-1` once it is no longer owned here. */
  get fd(): number {
    return this.#state === 'open' ? this.#fd : -1;
  }

  /** True once it was closed, taken out, or handed to a passer; false again if a `send` of it is refused. */
  get closed(): boolean {
    return this.#state !== 'open';
  }

  /** What is open here. Throws `ERR_FDPASSER_NOT_OWNED` when it is closed. */
  get kind(): Kind {
    return KINDS[checked(addon.kind(this.#open()), 'fstat')]!;
  }

  /** Whether it is a socket that listens (`SO_ACCEPTCONN`). Throws `ERR_FDPASSER_NOT_OWNED` when it is closed. */
  get listening(): boolean {
    return checked(addon.listening(this.#open()), 'getsockopt') === 1;
  }

  /**
   * What its sender had read from a socket and not consumed: the bytes that come before those which the kernel has.
   * `undefined` when there are none. `toSocket` puts them first by itself.
   */
  get unread(): Buffer | undefined {
    return this.#unread;
  }

  /**
   * Makes a connection of it, with `unread` as the first bytes to read; a fifo is readable, writable or both, as it was
   * opened. This is `closed` then, and the socket owns the descriptor.
   *
   * This and the next four throw `ERR_FDPASSER_WRONG_KIND` for what they are not for, and otherwise as `take`; this is
   * then as it was.
   */
  toSocket(options?: SocketOptions): Socket {
    return this.#become((nature) => socketOf(nature, options));
  }

  /** Makes a server of a listening socket: it accepts from now on. It leaves the path of a Unix socket alone. */
  toServer(listener?: (socket: Socket) => void): Server {
    return this.#become((nature) => serverOf(nature, listener));
  }

  /** Makes a datagram socket of a bound UDP socket: it receives from now on. */
  toDgram(listener?: (message: Buffer, from: RemoteInfo) => void): DatagramSocket {
    return this.#become((nature) => datagramsOf(nature, listener));
  }

  /** Makes a stream of a file or device that is open for reading. */
  createReadStream(options?: ReadStreamOptions): ReadStream {
    return this.#become((nature) => readStreamOf(nature, options));
  }

  /** Makes a stream of a file or device that is open for writing. */
  createWriteStream(options?: WriteStreamOptions): WriteStream {
    return this.#become((nature) => writeStreamOf(nature, options));
  }

  /**
   * Takes the number out: it is yours to close now, and this is `closed`. Throws `ERR_FDPASSER_NOT_OWNED` when there is
   * none, and `ERR_FDPASSER_LENT` while a send with `keepOpen` still needs it.
   */
  take(): number {
    const fd = this.#takable();
    addon.release(fd);
    this.#forget();
    return fd;
  }

  /**
   * Another descriptor of the same open file, close-on-exec, with an owner of its own: position and flags are shared, and
   * `unread` is the same. Throws `EMFILE` when the table is full, `ERR_FDPASSER_NOT_OWNED` when this is closed.
   */
  dup(): OwnedFd {
    const copy = ownReceived(checked(addon.dup(this.#open()), 'fcntl'));
    copy.#unread = this.#unread;
    return copy;
  }

  /**
   * Closes the descriptor; closing again does nothing. While a send still needs it, the close waits for that.
   * Throws `ERR_FDPASSER_CLOSED_BEHIND` when something else has closed the number.
   */
  close(): void {
    if (this.#state === 'closed') return;
    if (this.#loans === 0) this.#shut();
    else {
      this.#state = 'closing';
      leaving.add(this.#fd);
    }
  }

  /** `close()`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Closes several at once, which takes a fraction of the time when their numbers stand in a row, as those received
   * together do. Like `close` for each, but does not tell when something else has closed a number.
   * Throws `ERR_INVALID_ARG_TYPE`, closing none, for anything but OwnedFds.
   */
  static closeAll(fds: Iterable<OwnedFd>): void {
    const all = ownedAll(fds); // first: whatever an iterator does could use the batch as well
    let count = 0;
    const closeThese = (): void => {
      addon.closeAll(count);
      count = 0;
      slotFreed();
    };
    try {
      for (const owned of all) {
        if (owned.#state !== 'open' || owned.#loans > 0 || owned.#trackedByNode) {
          owned.close();
          continue;
        }
        batch.fd[count++] = owned.#fd;
        owned.#forget();
        if (count === batch.fd.length) closeThese();
      }
    } finally {
      closeThese();
    }
  }

  #open(): number {
    if (this.#state !== 'open') throw notOwned();
    return this.#fd;
  }

  #takable(): number {
    const fd = this.#open();
    if (this.#loans > 0) throw lentOut(fd);
    return fd;
  }

  #become<T>(make: (nature: Nature) => T): T {
    this.#takable();
    const made = make(this);
    this.take();
    return made;
  }

  #shut(): void {
    const fd = this.#fd;
    this.#forget();
    const result = shut(fd, this.#trackedByNode);
    slotFreed();
    if (result === EBADF) throw closedBehind(fd);
  }

  #forget(): void {
    if (this.#state !== 'open') leaving.delete(this.#fd);
    this.#state = 'closed';
    this.#fd = -1;
    if (this.#registered) garbage.unregister(this);
  }

  static {
    ownReceived = (fd) => {
      noteNumber(fd);
      received = true;
      return new this(fd); // by its own name, the bundle would give it another
    };
    lend = (owned) => {
      owned.#open();
      owned.#loans++;
    };
    give = (owned) => {
      lend(owned);
      owned.#state = 'given';
      leaving.add(owned.#fd);
    };
    endLoan = (owned) => {
      owned.#loans--;
      if (owned.#loans > 0 || owned.#state !== 'closing') return;
      try {
        owned.#shut();
      } catch (error) {
        process.emitWarning(error as Error); // its owner has let go of it: nobody is left to throw to
      }
    };
    giveBack = (owned) => {
      if (owned.#state === 'given') {
        owned.#state = 'open';
        leaving.delete(owned.#fd);
      }
      endLoan(owned);
    };
    lentNumber = (owned) => owned.#fd;
    moveOut = (owned) => {
      const fd = owned.#fd;
      if (owned.#loans > 1) throw lentOut(fd);
      owned.#forget();
      const moved = ownReceived(fd);
      moved.#unread = owned.#unread;
      return moved;
    };
    setUnread = (owned, bytes) => {
      owned.#unread = bytes;
    };
    register = (owned) => {
      if (owned.#state === 'closed') return;
      owned.#registered = true;
      garbage.register(owned, { fd: owned.#fd, trackedByNode: owned.#trackedByNode }, owned);
    };
  }
}

function ownedAll(fds: Iterable<OwnedFd>): OwnedFd[] {
  if (fds instanceof OwnedFd || typeof fds?.[Symbol.iterator] !== 'function')
    throw invalidType('fds', 'an array of OwnedFds', fds);
  const all = Array.from(fds);
  for (const [i, owned] of all.entries())
    if (!(owned instanceof OwnedFd)) throw invalidType(`fds[${i}]`, 'an OwnedFd', owned);
  return all;
}

/** Numbers that a send or a passer has, and will close: nobody may use them any more. */
export const leaving = new Set<number>();

/** Set for the next OwnedFd: the kernel has just given this thread its number, so it needs no check and has no owner. */
let received = false;

function adopt(fd: number, trackedByNode: boolean): void {
  const result = addon.adopt(fd, trackedByNode);
  if (result === EEXIST) throw ownedAlready(fd);
  if (result < 0) throw systemError(result, 'fcntl', { advice: `Descriptor ${fd} is not open` });
}

/** A number that a descriptor could have. */
export function validNumber(name: string, fd: unknown): number {
  if (typeof fd !== 'number') throw invalidType(name, 'a descriptor: a number, an OwnedFd, or an object with fd', fd);
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fffffff)
    throw outOfRange(name, 'an integer >= 0 and <= 2147483647 (-1 is what a closed OwnedFd has)', fd);
  return fd;
}

/**
 * Whether the runtime closes the number by itself unless its own `fs.close` does it.
 *
 * In a worker, Node keeps a list of the numbers that `fs.open` gave out there and closes them when the worker ends
 * (`trackUnmanagedFds`). Only `fs.close` takes a number off it; closed in any other way it would be closed twice. What
 * open(2) cannot open is on no such list. Deno keeps one everywhere, and its `fs` takes no number but those.
 */
function mayBeTracked(fd: number): boolean {
  if (runtime === 'deno') return knownToFs(fd);
  return !builtin.workerThreads.isMainThread && addon.kind(fd) <= KINDS.indexOf('block-device');
}

function knownToFs(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

function shut(fd: number, trackedByNode: boolean): number {
  if (!trackedByNode) return addon.close(fd);
  addon.release(fd);
  try {
    closeSync(fd);
    return 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? 0;
  }
}

const garbage = new FinalizationRegistry<{ fd: number; trackedByNode: boolean }>(({ fd, trackedByNode }) => {
  shut(fd, trackedByNode);
  slotFreed();
  process.emitWarning(
    `Descriptor ${fd} was closed because its OwnedFd was garbage-collected. Close every OwnedFd, or declare it with ` +
      '"using"',
    'FdPasserWarning',
  );
});

// Registering costs more than everything else about an OwnedFd, and most are closed or passed on at once. So each waits
// here, where it cannot be collected, until the loop turns, and only those still open then are registered.
let fresh: OwnedFd[] = [];

function watchForGarbage(owned: OwnedFd): void {
  if (fresh.push(owned) === 1) setImmediate(registerFresh).unref();
}

function registerFresh(): void {
  const due = fresh;
  fresh = [];
  for (const owned of due) register(owned);
}
