import type { RemoteInfo, Socket as DatagramSocket } from 'node:dgram';
import { fstatSync } from 'node:fs';
import { constants } from 'node:os';
import type { Server, Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { ReadStream as TtyReadStream, WriteStream as TtyWriteStream } from 'node:tty';
import { attempt } from '../common/attempt.js';
import { checkBoolean, checkOptions, invalidType, outOfRange } from '../common/arguments.js';
import {
  checked,
  closedBehind,
  isOfAnotherCopy,
  lentOut,
  managedElsewhere,
  notOpen,
  notOwned,
  ownedAlready,
  notOpenNumber,
} from '../errors.js';
import { kindOf, type Kind } from '../native/kinds.js';
import { OTHERS, OURS, PERHAPS, type Closer } from '../native/addon.js';
import { builtin } from '../common/lazy-modules.js';
import { addon, batch } from '../native/load.js';
import { runtime } from '../native/runtime.js';
import { acceptHandle, beginIdle, closeUnwarned } from './node-internals.js';
import { nodeObject, whenReady, type NodeObject, type NodeOwner } from './node-object.js';
import { noteNumber, slotFreed } from './table.js';
import { isReopened } from './terminal.js';
import {
  beginWith,
  connectionOf,
  datagramsOf,
  isTerminal,
  readStreamOf,
  serverOf,
  socketOf,
  ttyOf,
  writeStreamOf,
  type Close,
  type ConnectionOptions,
  type Nature,
  type ReadStreamOptions,
  type SocketOptions,
  type WriteStreamOptions,
} from './to-node.js';

/** `'given'`: a send has it and may still give it back. `'closing'`: closed for its owner, but a send still needs it. */
type State = 'open' | 'given' | 'closing' | 'closed';

const { EBADF, EEXIST } = constants.errno;

// The queues of this library work on an OwnedFd through these; nobody else can.
let ownReceived: (fd: number) => OwnedFd;
let ownMade: (fd: number) => OwnedFd;
let lend: (owned: OwnedFd) => void;
let give: (owned: OwnedFd) => void;
let endLoan: (owned: OwnedFd) => void;
let giveBack: (owned: OwnedFd) => void;
let lentNumber: (owned: OwnedFd) => number;
let letOut: (owned: OwnedFd) => number;
let moveOut: (owned: OwnedFd) => OwnedFd;
let setUnread: (owned: OwnedFd, bytes: Buffer | undefined) => void;
let share: (owned: OwnedFd) => void;
let connectTo: (owned: OwnedFd, server: Server, begin?: (socket: Socket) => boolean) => Socket | undefined;
let register: (owned: OwnedFd) => void;
export {
  ownReceived,
  ownMade,
  lend,
  give,
  endLoan,
  giveBack,
  lentNumber,
  letOut,
  moveOut,
  setUnread,
  share,
  connectTo,
};

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
  #closer: Closer;
  /** A socket that was made here, and that nobody else can have: no other process, and no other number. */
  #alone = false;
  #unread: Buffer | undefined;

  /**
   * Adopts an open descriptor: from now on nobody else may close it.
   *
   * Throws `ERR_INVALID_ARG_TYPE` or `ERR_OUT_OF_RANGE` for what is no descriptor number, `EBADF` when nothing is open
   * there, and `ERR_FDPASSER_OWNED` when the number has an owner in this process. The number is then still yours.
   */
  constructor(fd: number) {
    const isReceived = received;
    received = false;
    this.#closer = isReceived ? OURS : closerOf(validNumber('fd', fd));
    if (!isReceived) adopt(fd, this.#closer);
    this.#fd = fd;
    watchForGarbage(this);
  }

  /** The number, for borrowing: whoever gets it must not close it. `-1` once it is no longer owned here. */
  get fd(): number {
    this.#alone = false; // whoever asks may share it
    return this.#state === 'open' ? this.#fd : -1;
  }

  /** True once it was closed, taken out, or handed to a passer; false again if a `send` of it is refused. */
  get closed(): boolean {
    return this.#state !== 'open';
  }

  /** What is open here. Throws `ERR_FDPASSER_NOT_OWNED` when it is closed. */
  get kind(): Kind {
    return kindOf(checked(addon.kind(this.#open()), 'fstat'));
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
   * This and the next five throw `ERR_FDPASSER_WRONG_KIND` for what they are not for, and otherwise as `take`; this is
   * then as it was.
   */
  toSocket(options?: SocketOptions): Socket {
    if (this.#closer !== OURS && this.kind === 'fifo') return this.#becomeCopy((copy) => copy.toSocket(options));
    return this.#become((nature) => socketOf(nature, options));
  }

  /**
   * Makes a connection of a server, as if that had accepted it: the server emits `'connection'`, counts it and ends it, and its
   * options, `maxConnections` among them, hold. `unread` are the first bytes to read; TLS begins here. The server need not
   * listen. `undefined` when it drops the connection, which is closed then, too.
   *
   * Throws `ERR_FDPASSER_CLOSED` when the server is closed, `ERR_INVALID_ARG_TYPE` for what is no server,
   * `ERR_FDPASSER_RUNTIME` in Bun and Deno, and otherwise as `toSocket`; this is then as it was.
   */
  toConnection(server: Server, options: ConnectionOptions = {}): Socket | undefined {
    const { idle = false } = checkOptions(options);
    checkBoolean('options.idle', idle);
    const socket = connectTo(this, server);
    if (idle && socket !== undefined) beginIdle(socket, server);
    return socket;
  }

  /** Makes a server of a listening socket: it accepts from now on. It leaves the path of a Unix socket alone. */
  toServer(listener?: (socket: Socket) => void): Server {
    return this.#become((nature) => serverOf(nature, listener));
  }

  /** Makes a datagram socket of a bound UDP socket: it receives from now on. */
  toDgram(listener?: (message: Buffer, from: RemoteInfo) => void): DatagramSocket {
    return this.#become((nature) => datagramsOf(nature, listener));
  }

  /**
   * Makes a `tty.ReadStream` of a terminal, which can be written to as well, or a `tty.WriteStream` of one that is open for
   * writing alone. It ends when the other end of the terminal hangs up.
   */
  toTty(): TtyReadStream | TtyWriteStream {
    return this.#becomeTerminal(ttyOf);
  }

  /** Makes a stream of a file or device that is open for reading: an `fs.ReadStream`, or a `tty.ReadStream` of a terminal. */
  createReadStream(options?: ReadStreamOptions): Readable {
    if (isTerminal(this.kind)) return this.#becomeTerminal((nature) => readStreamOf(nature, options));
    return this.#becomeFile((nature, close) => readStreamOf(nature, options, close));
  }

  /** Makes a stream of a file or device that is open for writing: an `fs.WriteStream`, or a `tty.WriteStream` of a terminal. */
  createWriteStream(options?: WriteStreamOptions): Writable {
    if (isTerminal(this.kind)) return this.#becomeTerminal((nature) => writeStreamOf(nature, options));
    return this.#becomeFile((nature, close) => writeStreamOf(nature, options, close));
  }

  /**
   * Takes the number out: it is yours to close now, and this is `closed`. Throws `ERR_FDPASSER_NOT_OWNED` when there is
   * none, and `ERR_FDPASSER_LENT` while a send with `keepOpen` still needs it.
   */
  take(): number {
    this.#takable();
    return letOut(this);
  }

  /**
   * Another descriptor of the same open file, close-on-exec, with an owner of its own: position and flags are shared, and
   * `unread` is the same. Throws `EMFILE` when the table is full, `ERR_FDPASSER_NOT_OWNED` when this is closed.
   */
  dup(): OwnedFd {
    const copy = ownReceived(checked(addon.dup(this.#open()), 'fcntl'));
    copy.#unread = this.#unread;
    this.#alone = false;
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
   * Takes the descriptor out of one of Node's own objects, which is closed as if it were sent: what was written to it leaves
   * first, what was read from it and not consumed is `unread`, and the path of a Unix server stays. The number is another.
   *
   * Rejects with `ERR_INVALID_ARG_TYPE` for anything else, with what a send of it would reject with, and with `EMFILE` when
   * the table is full. The object then works as before.
   */
  static async detach(object: NodeOwner): Promise<OwnedFd> {
    const node = ownerOf(object);
    node.hold();
    const owned = await departing(node);
    node.close();
    return owned;
  }

  /**
   * Another descriptor of what one of Node's own objects has, close-on-exec. The object goes on, and of a connection each byte
   * goes to whoever reads first. Throws `ERR_INVALID_ARG_TYPE` for anything else, `ERR_FDPASSER_NOT_OPEN` when it has none,
   * `ERR_FDPASSER_TLS` for a TLS connection, and `EMFILE` when the table is full.
   */
  static duplicate(object: NodeOwner): OwnedFd {
    return duplicateOf(ownerOf(object));
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
        if (owned.#state !== 'open' || owned.#loans > 0 || owned.#closer !== OURS || owned.#alone) {
          attempt(() => owned.close());
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
    if (this.#loans > 0 || addon.isLent(fd)) throw lentOut(fd);
    return fd;
  }

  /** The number becomes that of what `make` makes, which closes it by itself. */
  #become<T>(make: (nature: Nature) => T): T {
    addon.handOver(this.#takable());
    try {
      const made = make(this);
      this.take();
      return made;
    } finally {
      addon.handOver(-1);
    }
  }

  /** The same for what has node:fs close it, which would warn of a number that is not on its list. */
  #becomeFile<T>(make: (nature: Nature, close?: Close) => T): T {
    if (!listsNumbers()) return this.#become(make);
    this.#takable();
    const closer = this.#closer;
    const made = make(this, (fd) => {
      const result = shut(fd, closer);
      slotFreed();
      return result;
    });
    this.#forget();
    return made;
  }

  /** The same for a stream that may have opened its terminal once more, and leaves the number to be closed. */
  #becomeTerminal<T>(make: (nature: Nature) => T): T {
    if (this.#closer !== OURS) return this.#becomeCopy((copy) => copy.#becomeTerminal(make));
    const fd = this.#takable();
    addon.handOver(fd);
    try {
      const made = make(this);
      if (isReopened(made as Socket, fd)) this.close();
      else this.take();
      return made;
    } finally {
      addon.handOver(-1);
    }
  }

  /** The same for what closes it past node:fs, which would leave the number on that list: another takes its place. */
  #becomeCopy<T>(make: (copy: OwnedFd) => T): T {
    this.#takable();
    const copy = this.dup();
    try {
      const made = make(copy);
      this.close();
      return made;
    } catch (error) {
      copy.close();
      throw error;
    }
  }

  #shut(): void {
    const fd = this.#fd;
    this.#forget();
    const result = this.#alone ? addon.closeAlone(fd) : shut(fd, this.#closer);
    slotFreed();
    if (result === -EBADF) throw closedBehind(fd);
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
    ownMade = (fd) => {
      const owned = ownReceived(fd);
      owned.#alone = true;
      return owned;
    };
    share = (owned) => {
      owned.#alone = false;
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
    letOut = (owned) => {
      const fd = owned.#fd;
      addon.release(fd);
      owned.#forget();
      return fd;
    };
    moveOut = (owned) => {
      const fd = owned.#fd;
      if (owned.#loans > 1) throw lentOut(fd);
      owned.#forget();
      const moved = ownReceived(fd);
      moved.#closer = owned.#closer;
      moved.#alone = owned.#alone;
      moved.#unread = owned.#unread;
      return moved;
    };
    connectTo = (owned, server, begin = () => true) => {
      const unread = owned.#unread;
      const handle = owned.#become((nature) => connectionOf(nature, server));
      return acceptHandle(server, handle, (socket) => {
        beginWith(socket, unread);
        return begin(socket);
      });
    };
    setUnread = (owned, bytes) => {
      owned.#unread = bytes;
    };
    register = (owned) => {
      if (owned.#state === 'closed') return;
      owned.#registered = true;
      garbage.register(owned, { fd: owned.#fd, closer: owned.#closer }, owned);
    };
  }
}

/**
 * The descriptor of what is held, in the moment in which it can depart; it has departed then. Rejects, and it is given back,
 * when it cannot be sent, or with what `last` throws, which runs in that moment.
 */
export async function departing(node: NodeObject, last = (): void => {}): Promise<OwnedFd> {
  try {
    return await whenReady(node, () => {
      const { refusal } = node;
      if (refusal !== undefined) throw refusal;
      last();
      const copy = duplicateOf(node);
      setUnread(copy, node.unread);
      node.depart();
      return copy;
    });
  } catch (error) {
    node.giveBack();
    throw error;
  }
}

function ownerOf(object: NodeOwner): NodeObject {
  const node = nodeObject(object);
  if (node === undefined) throw invalidType('object', "one of Node's objects that own a descriptor", object);
  return node;
}

function duplicateOf(node: NodeObject): OwnedFd {
  if (node.fd < 0) throw notOpen(node.object);
  return ownReceived(checked(addon.dup(node.fd), 'fcntl'));
}

function ownedAll(fds: Iterable<OwnedFd>): OwnedFd[] {
  if (fds instanceof OwnedFd || typeof fds?.[Symbol.iterator] !== 'function')
    throw invalidType('fds', 'an array of OwnedFds', fds);
  const all = Array.from(fds);
  for (const [i, owned] of all.entries())
    if (!(owned instanceof OwnedFd))
      throw isOfAnotherCopy(owned) ? managedElsewhere(owned) : invalidType(`fds[${i}]`, 'an OwnedFd', owned);
  return all;
}

/** Numbers that a send or a passer has, and will close: nobody may use them any more. */
export const leaving = new Set<number>();

/** Set for the next OwnedFd: the kernel has just given this thread its number, so it needs no check and has no owner. */
let received = false;

function adopt(fd: number, closer: Closer): void {
  const result = addon.adopt(fd, closer);
  if (result === -EEXIST) throw ownedAlready(fd);
  if (result < 0) throw notOpenNumber(result, fd);
}

/** A number that a descriptor could have. */
export function validNumber(name: string, fd: unknown): number {
  if (typeof fd !== 'number') throw invalidType(name, 'a descriptor: a number, an OwnedFd, or an object with fd', fd);
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fffffff)
    throw outOfRange(name, 'an integer >= 0 and <= 2147483647 (-1 is what a closed OwnedFd has)', fd);
  return fd;
}

/**
 * Who closes a number, that somebody else opened, when this environment ends.
 *
 * In a worker, Node keeps a list of the numbers that `fs.open` gave out there, and closes them last of all
 * (`trackUnmanagedFds`). Only `fs.close` takes a number off it; closed in any other way it would be closed twice. Nobody can
 * ask what is on it. Deno keeps one everywhere, and its `fs` takes no number but those.
 */
function closerOf(fd: number): Closer {
  if (runtime === 'deno') return knownToFs(fd) ? OTHERS : OURS;
  return listsNumbers() ? PERHAPS : OURS;
}

function listsNumbers(): boolean {
  return runtime === 'node' && !builtin.workerThreads.isMainThread;
}

function knownToFs(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/** Closes a number that is owned here; one that is lent is closed when that is over. */
function shut(fd: number, closer: Closer): number {
  if (closer === OURS) return addon.close(fd);
  // Who is the last to borrow it may be in another thread, which cannot take it off this one's list.
  if (addon.isLent(fd)) {
    leaving.add(fd);
    setTimeout(() => {
      leaving.delete(fd);
      shut(fd, closer);
      slotFreed();
    }, LOAN_CHECK).unref();
    return 0;
  }
  // What a peer has sent may be slow to close, which fs.close would wait for: so that closes something else.
  const vacated = addon.vacate(fd);
  if (vacated < 0) addon.release(fd);
  if (vacated === -EBADF) return vacated;
  const result = closeUnwarned(fd);
  if (vacated === 0) addon.vacated(fd);
  return result;
}

/** Milliseconds. */
const LOAN_CHECK = 5;

const garbage = new FinalizationRegistry<{ fd: number; closer: Closer }>(({ fd, closer }) => {
  shut(fd, closer);
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
