import type { InspectOptions } from 'node:util';
import type { RemoteInfo, Socket as DatagramSocket } from 'node:dgram';
import { constants } from 'node:os';
import type { Server, Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { ReadStream as TtyReadStream, WriteStream as TtyWriteStream } from 'node:tty';
import { attempt } from '../common/attempt.js';
import { checkBoolean, checkOptions, invalidType, outOfRange, type Names } from '../common/arguments.js';
import {
  checked,
  closedBehind,
  isOfAnotherCopy,
  lentOut,
  noData,
  managedElsewhere,
  notOpen,
  notOwned,
  ownedAlready,
  notOpenNumber,
} from '../errors.js';
import { kindOf, type Kind } from '../native/kinds.js';
import { OURS, type Closer } from '../native/addon.js';
import { addon, batch } from '../native/load.js';
import { become, connectTo, becomeFile, becomeSocket, becomeTerminal } from './become.js';
import { closerOf, leaving, shut } from './closer.js';
import { unwatch, watchForGarbage } from './garbage.js';
import { beginIdle } from './node-internals.js';
import { nodeObject, whenReady, type NodeObject, type NodeOwner } from './node-object.js';
import { ownership, type Ownership } from './ownership.js';
import { noteNumber, slotFreed } from './table.js';
import {
  CONNECTION,
  datagramsOf,
  isTerminal,
  readStreamOf,
  serverOf,
  socketOf,
  ttyOf,
  writeStreamOf,
  type ConnectionOptions,
  type ReadStreamOptions,
  type SocketOptions,
  type WriteStreamOptions,
} from './to-node.js';

/**
 * `'given'`: a send or link has it and may still give it back, as the number that it was or as this. `'closing'`:
 * closed for its owner, but a send still needs it.
 */
type State = 'open' | 'given' | 'given as a number' | 'closing' | 'closed';

const { EBADF, EEXIST } = constants.errno;

export interface OwnedFdOptions {
  /**
   * Make it close-on-exec, so that no child process has it by accident. Default: it stays as whoever made it decided.
   */
  closeOnExec?: boolean | undefined;
}

const ADOPT: Names<OwnedFdOptions> = { closeOnExec: true };

/** Stands in the message of a DataCloneError. */
const NOT_CLONEABLE = Symbol(
  'an OwnedFd, which is no data: send it over an FdPasser, FdStream or FdChannel, or pass what take() gives to a worker',
);
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/** A number that the kernel has just given this thread: it needs no check, has no owner, and is close-on-exec. */
const JUST_GIVEN: OwnedFdOptions = {};

/**
 * Exactly one owner of one open descriptor.
 *
 * Whoever has the OwnedFd closes it, hands it to a passer (which closes it once it is sent) or takes the number out.
 * One that is garbage-collected while it is open is closed then, with a process warning. It is close-on-exec unless
 * whoever made the number decided otherwise, and works with whatever takes an object with an `fd`, such as `spawn`'s
 * `stdio`.
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
  constructor(fd: number, options: OwnedFdOptions = {}) {
    if (options === JUST_GIVEN) this.#closer = OURS;
    else {
      this.#closer = closerOf(validNumber('fd', fd));
      adopt(fd, this.#closer, options);
    }
    this.#fd = fd;
    watchForGarbage(this);
  }

  /** @internal What copies objects would leave an empty one. It refuses a symbol, and says these words of it. */
  readonly notCloneable = NOT_CLONEABLE;

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
    return becomeSocket(this, (nature) => socketOf(nature, options));
  }

  /**
   * Makes a connection of a server, as if that had accepted it: the server emits `'connection'`, counts it and ends it,
   * and its options, `maxConnections` among them, hold. `unread` are the first bytes to read; TLS begins here. The
   * server need not listen. `undefined` when it drops the connection, which is closed then, too.
   *
   * Throws `ERR_FDPASSER_CLOSED` when the server is closed, `ERR_INVALID_ARG_TYPE` for what is no server,
   * `ERR_FDPASSER_RUNTIME` in Bun and Deno, and otherwise as `toSocket`; this is then as it was.
   */
  toConnection(server: Server, options: ConnectionOptions = {}): Socket | undefined {
    const { idle = false } = checkOptions(options, CONNECTION);
    checkBoolean('options.idle', idle);
    const socket = connectTo(this, server);
    if (idle && socket !== undefined) beginIdle(socket, server);
    return socket;
  }

  /** Makes a server of a listening socket: it accepts from now on. It leaves the path of a Unix socket alone. */
  toServer(listener?: (socket: Socket) => void): Server {
    return become(this, (nature) => serverOf(nature, listener));
  }

  /** Makes a datagram socket of a bound UDP socket: it receives from now on. */
  toDgram(listener?: (message: Buffer, from: RemoteInfo) => void): DatagramSocket {
    return become(this, (nature) => datagramsOf(nature, listener));
  }

  /**
   * Makes a `tty.ReadStream` of a terminal, which can be written to as well, or a `tty.WriteStream` of one that is open
   * for writing alone. It ends when the other end of the terminal hangs up.
   */
  toTty(): TtyReadStream | TtyWriteStream {
    return becomeTerminal(this, ttyOf);
  }

  /**
   * Makes a stream of a file or device that is open for reading: an `fs.ReadStream`, or a `tty.ReadStream` of a
   * terminal.
   */
  createReadStream(options?: ReadStreamOptions): Readable {
    if (isTerminal(this.kind)) return becomeTerminal(this, (nature) => readStreamOf(nature, options));
    return becomeFile(this, (nature, close) => readStreamOf(nature, options, close));
  }

  /**
   * Makes a stream of a file or device that is open for writing: an `fs.WriteStream`, or a `tty.WriteStream` of a
   * terminal.
   */
  createWriteStream(options?: WriteStreamOptions): Writable {
    if (isTerminal(this.kind)) return becomeTerminal(this, (nature) => writeStreamOf(nature, options));
    return becomeFile(this, (nature, close) => writeStreamOf(nature, options, close));
  }

  /**
   * Takes the number out: it is yours to close now, and this is `closed`. Throws `ERR_FDPASSER_NOT_OWNED` when there is
   * none, and `ERR_FDPASSER_LENT` while a send with `keepOpen` still needs it.
   */
  take(): number {
    ownership.takable(this);
    return this.#letOut();
  }

  /**
   * Another descriptor of the same open file, close-on-exec, with an owner of its own: position and flags are shared,
   * and `unread` is the same. Throws `EMFILE` when the table is full, `ERR_FDPASSER_NOT_OWNED` when this is closed.
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
   * Takes the descriptor out of one of Node's own objects, which is closed as if it were sent: what was written to it
   * leaves first, what was read from it and not consumed is `unread`, and the path of a Unix server stays. The number
   * is another.
   *
   * Rejects with `ERR_INVALID_ARG_TYPE` for anything else, with what a send of it would reject with, and with `EMFILE`
   * when the table is full. The object then works as before.
   */
  static async detach(object: NodeOwner): Promise<OwnedFd> {
    const node = ownerOf(object);
    node.hold();
    const owned = await departing(node);
    node.close();
    return owned;
  }

  /**
   * Another descriptor of what one of Node's own objects has, close-on-exec. The object goes on, and of a connection
   * each byte goes to whoever reads first. Throws `ERR_INVALID_ARG_TYPE` for anything else, `ERR_FDPASSER_NOT_OPEN`
   * when it has none, `ERR_FDPASSER_TLS` for a TLS connection, and `EMFILE` when the table is full.
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

  /** @internal `{}` would be nothing that anybody could use. */
  toJSON(): never {
    throw noData();
  }

  /** @internal What `console.log` shows: of a file, nothing that it would have to be asked for. */
  [INSPECT](
    _depth: number,
    options: InspectOptions,
    inspect: (value: object, options: InspectOptions) => string,
  ): string {
    const shown: Record<string, unknown> = {};
    if (this.#state !== 'closed') {
      const kind = addon.kind(this.#fd);
      shown['fd'] = this.#fd;
      shown['kind'] = kind < 0 ? 'not open any more' : kindOf(kind);
    }
    shown['state'] = this.#state === 'given as a number' ? 'given' : this.#state;
    if (this.#loans > 0) shown['loans'] = this.#loans;
    if (this.#unread !== undefined) shown['unread'] = this.#unread.length;
    return `OwnedFd ${inspect(shown, options)}`;
  }

  #open(): number {
    if (this.#state !== 'open') throw notOwned();
    return this.#fd;
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
    if (this.#registered) unwatch(this);
  }

  #letOut(): number {
    const fd = this.#fd;
    addon.release(fd);
    this.#forget();
    return fd;
  }

  static {
    const inside: Ownership = {
      number: (owned) => owned.#fd,
      closer: (owned) => owned.#closer,
      setUnread(owned, bytes) {
        owned.#unread = bytes;
      },
      lend(owned) {
        const fd = owned.#open();
        owned.#loans++;
        return fd;
      },
      give(owned, asNumber) {
        const fd = inside.lend(owned);
        owned.#state = asNumber ? 'given as a number' : 'given';
        leaving.add(fd);
        return fd;
      },
      setAlone(owned, alone) {
        owned.#alone = alone;
      },
      endLoan(owned) {
        owned.#loans--;
        if (owned.#loans > 0 || owned.#state !== 'closing') return;
        try {
          owned.#shut();
        } catch (error) {
          process.emitWarning(error as Error); // its owner has let go of it: nobody is left to throw to
        }
      },
      giveBack(owned) {
        const wasNumber = owned.#state === 'given as a number';
        if (wasNumber || owned.#state === 'given') {
          owned.#state = 'open';
          leaving.delete(owned.#fd);
        }
        inside.endLoan(owned);
        if (wasNumber) owned.#letOut();
      },
      moveOut(owned) {
        const fd = owned.#fd;
        if (owned.#loans > 1) throw lentOut(fd);
        owned.#forget();
        const moved = ownReceived(fd);
        moved.#closer = owned.#closer;
        moved.#alone = owned.#alone;
        moved.#unread = owned.#unread;
        return moved;
      },
      takable(owned) {
        const fd = owned.#open();
        if (owned.#loans > 0 || addon.isLent(fd)) throw lentOut(fd);
        return fd;
      },
      forget(owned) {
        owned.#forget();
      },
      watch(owned) {
        if (owned.#state === 'closed') return undefined;
        owned.#registered = true;
        return { fd: owned.#fd, closer: owned.#closer };
      },
    };
    Object.assign(ownership, inside);
  }
}

/** The owner of what the kernel has just given this thread. */
export function ownReceived(fd: number): OwnedFd {
  noteNumber(fd);
  return new OwnedFd(fd, JUST_GIVEN);
}

/** The same for a socket that was made here, of which nobody else has anything. */
export function ownMade(fd: number): OwnedFd {
  const owned = ownReceived(fd);
  ownership.setAlone(owned, true);
  return owned;
}

export { connectTo };

/** Says what its sender had read of it. */
export function setUnread(owned: OwnedFd, bytes: Buffer | undefined): void {
  ownership.setUnread(owned, bytes);
}

/** Who has a say in a departure. */
export interface Witness {
  /** Runs in the last moment before it departs, and may throw what keeps it here. */
  last?(): void;
  /** Runs in the first moment after that. */
  departed?(): void;
}

/**
 * The descriptor of what is held, in the moment in which it can depart; it has departed then. Rejects, and it is given
 * back, when it cannot be sent, or with what `last` throws.
 */
export async function departing(node: NodeObject, witness: Witness = {}): Promise<OwnedFd> {
  try {
    return await whenReady(node, () => {
      const { refusal } = node;
      if (refusal !== undefined) throw refusal;
      witness.last?.();
      const copy = duplicateOf(node);
      setUnread(copy, node.unread);
      node.depart();
      witness.departed?.();
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

function adopt(fd: number, closer: Closer, options: OwnedFdOptions): void {
  const { closeOnExec = false } = checkOptions(options, ADOPT);
  checkBoolean('options.closeOnExec', closeOnExec);
  const result = addon.adopt(fd, closer);
  if (result === -EEXIST) throw ownedAlready(fd);
  if (result < 0) throw notOpenNumber(result, fd);
  if (!closeOnExec) return;
  const marked = addon.closeOnExec(fd);
  if (marked < 0) addon.release(fd);
  checked(marked, 'fcntl');
}

/** A number that a descriptor could have. */
export function validNumber(name: string, fd: unknown): number {
  if (typeof fd !== 'number') throw invalidType(name, 'a descriptor: a number, an OwnedFd, or an object with fd', fd);
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fffffff)
    throw outOfRange(name, 'an integer >= 0 and <= 2147483647 (-1 is what a closed OwnedFd has)', fd);
  return fd;
}
