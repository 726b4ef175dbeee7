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
 * `'given'`: a send or link has it, and may still give it back. `'given as a number'`: the same, but the caller gave a
 * number and gets a number back. `'kept'`: a link has it, and closes it. `'closing'`: its owner has closed it, but a
 * send still needs it.
 */
type State = 'open' | 'given' | 'given as a number' | 'kept' | 'closing' | 'closed';

const { EBADF, EEXIST } = constants.errno;

export interface OwnedFdOptions {
  /**
   * Whether to make it close-on-exec, so that no child process gets it by accident. Default false: the flag stays as it
   * is.
   */
  closeOnExec?: boolean | undefined;
}

const ADOPT: Names<OwnedFdOptions> = { closeOnExec: true };

/** Shown in the message of a DataCloneError. */
const NOT_CLONEABLE = Symbol(
  'an OwnedFd, which is no data: send it over an FdPasser, FdStream or FdChannel, or pass a worker what take() returns',
);
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/**
 * Marks a number that the kernel has just returned in this thread. It needs no check, has no owner, and is
 * close-on-exec.
 */
const JUST_GIVEN: OwnedFdOptions = {};
/** Marks the same for an OwnedFd that is not watched for garbage yet. */
const UNWATCHED: OwnedFdOptions = {};

/**
 * The one owner of one open descriptor.
 *
 * Whoever has the OwnedFd must end it in one of three ways: close it, hand it to a passer, stream or channel (which
 * closes it when it is sent), or take the number out. An OwnedFd that is garbage-collected while it is open is closed
 * then, with a process warning. It is close-on-exec unless whoever made the number decided otherwise. It works with
 * whatever takes an object with an `fd`, such as `spawn`'s `stdio`.
 */
export class OwnedFd {
  #fd: number;
  #state: State = 'open';
  #loans = 0;
  #registered = false;
  #closer: Closer;
  /** Whether it is a socket that was made here and that nobody else can have: no other process, and no other number. */
  #alone = false;
  #unread: Buffer | undefined;

  /**
   * Adopts an open descriptor. From now on nobody else may close it.
   *
   * Throws `ERR_INVALID_ARG_TYPE` or `ERR_OUT_OF_RANGE` if `fd` is no descriptor number, `EBADF` if nothing is open
   * there, and `ERR_FDPASSER_OWNED` if the number has an owner in this process. The number is then still yours.
   */
  constructor(fd: number, options: OwnedFdOptions = {}) {
    if (options === JUST_GIVEN || options === UNWATCHED) this.#closer = OURS;
    else {
      this.#closer = closerOf(validNumber('fd', fd));
      adopt(fd, this.#closer, options);
    }
    this.#fd = fd;
    if (options !== UNWATCHED) watchForGarbage(this);
  }

  /**
   * @internal structuredClone would copy an OwnedFd to an empty object. It refuses to clone a symbol, and shows this
   * one's text.
   */
  readonly notCloneable = NOT_CLONEABLE;

  /** The number, for borrowing: whoever reads it must not close it. `-1` once it is no longer owned here. */
  get fd(): number {
    this.#alone = false; // whoever reads the number may share it
    return this.#state === 'open' ? this.#fd : -1;
  }

  /** True once it was closed, taken out, or handed to a passer. False again if a `send` of it is refused. */
  get closed(): boolean {
    return this.#state !== 'open';
  }

  /** What is open here. Throws `ERR_FDPASSER_NOT_OWNED` if it is closed. */
  get kind(): Kind {
    return kindOf(checked(addon.kind(this.#open()), 'fstat'));
  }

  /** Whether it is a socket that listens (`SO_ACCEPTCONN`). Throws `ERR_FDPASSER_NOT_OWNED` if it is closed. */
  get listening(): boolean {
    return checked(addon.listening(this.#open()), 'getsockopt') === 1;
  }

  /**
   * Bytes that the sender of this socket had read from it and not consumed. They come before the bytes that the kernel
   * still has. `undefined` if there are none. `toSocket` and `toConnection` put them first by themselves.
   */
  get unread(): Buffer | undefined {
    return this.#unread;
  }

  /**
   * Makes a `net.Socket` of a connection or fifo, with `unread` as the first bytes to read. A fifo becomes readable,
   * writable or both, as it was opened. Afterwards this is `closed`, and the socket owns the descriptor.
   *
   * This and the other methods that make an object of Node's throw `ERR_FDPASSER_WRONG_KIND` if the descriptor is of
   * another kind. Otherwise they throw what `take` throws. After a throw this OwnedFd is unchanged.
   */
  toSocket(options?: SocketOptions): Socket {
    return becomeSocket(this, (nature) => socketOf(nature, options));
  }

  /**
   * Makes a connection of a server, as if the server had accepted it. The server emits `'connection'`, counts the
   * connection and ends it; its options hold, `maxConnections` among them. `unread` are the first bytes to read. A TLS
   * server begins TLS. The server need not listen. Returns `undefined` if the server drops the connection, which is
   * then closed.
   *
   * Throws `ERR_FDPASSER_CLOSED` if the server is closed, `ERR_INVALID_ARG_TYPE` if it is no server,
   * `ERR_FDPASSER_RUNTIME` in Bun and Deno, and otherwise what `toSocket` throws. After a throw this OwnedFd is
   * unchanged.
   */
  toConnection(server: Server, options: ConnectionOptions = {}): Socket | undefined {
    const { idle = false } = checkOptions(options, CONNECTION);
    checkBoolean('options.idle', idle);
    const socket = connectTo(this, server);
    if (idle && socket !== undefined) beginIdle(socket, server);
    return socket;
  }

  /**
   * Makes a server of a listening socket, which accepts from now on. The server does not remove the path of a Unix
   * socket.
   */
  toServer(listener?: (socket: Socket) => void): Server {
    return become(this, (nature) => serverOf(nature, listener));
  }

  /** Makes a datagram socket of a bound UDP socket, which receives from now on. */
  toDgram(listener?: (message: Buffer, from: RemoteInfo) => void): DatagramSocket {
    return become(this, (nature) => datagramsOf(nature, listener));
  }

  /**
   * Makes a stream of a terminal: a `tty.ReadStream`, which can be written to as well, or a `tty.WriteStream` if it is
   * open for writing alone. The stream ends when the other end of the terminal hangs up.
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
   * Takes the number out. It is yours to close, and this is `closed`. Throws `ERR_FDPASSER_NOT_OWNED` if there is no
   * number, and `ERR_FDPASSER_LENT` while a send with `keepOpen` still needs it.
   */
  take(): number {
    ownership.takable(this);
    return this.#letOut();
  }

  /**
   * Makes another descriptor of the same open file, close-on-exec and with an owner of its own. Both share position and
   * flags, and `unread` is the same. Throws `EMFILE` if the descriptor table is full, and `ERR_FDPASSER_NOT_OWNED` if
   * this is closed.
   */
  dup(): OwnedFd {
    const copy = ownReceived(checked(addon.dup(this.#open()), 'fcntl'));
    copy.#unread = this.#unread;
    this.#alone = false;
    return copy;
  }

  /**
   * Closes the descriptor. Closing again does nothing. While a send still needs the descriptor, the close waits for it.
   * Throws `ERR_FDPASSER_CLOSED_BEHIND` if something else has closed the number.
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
   * Takes the descriptor out of one of Node's own objects. The object is closed as if it were sent: what was written to
   * it leaves first, what it has read and nobody has consumed becomes `unread`, and the path of a Unix server stays.
   * The descriptor gets another number.
   *
   * Rejects with `ERR_INVALID_ARG_TYPE` for anything else, with `EMFILE` if the descriptor table is full, and with
   * whatever a send of the object would reject with. The object then works as before.
   */
  static async detach(object: NodeOwner): Promise<OwnedFd> {
    const node = ownerOf(object);
    node.hold();
    const owned = await departing(node);
    node.close();
    return owned;
  }

  /**
   * Makes another descriptor, close-on-exec, of what one of Node's own objects has. The object works on; each byte of a
   * connection goes to whoever reads first. Throws `ERR_INVALID_ARG_TYPE` for anything else, `ERR_FDPASSER_NOT_OPEN` if
   * the object has no descriptor, `ERR_FDPASSER_TLS` for a TLS connection, and `EMFILE` if the descriptor table is
   * full.
   */
  static duplicate(object: NodeOwner): OwnedFd {
    return duplicateOf(ownerOf(object));
  }

  /**
   * Closes several at once. That takes a fraction of the time if their numbers are consecutive, as are those received
   * together. It does what `close` does for each, but does not report a number that something else has closed. Throws
   * `ERR_INVALID_ARG_TYPE`, and closes none, if any is no OwnedFd.
   */
  static closeAll(fds: Iterable<OwnedFd>): void {
    const all = ownedAll(fds); // done first, because the iterator's code could use the batch too
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

  /** @internal JSON would make a `{}` of it, which is of no use to anybody. */
  toJSON(): never {
    throw noData();
  }

  /** @internal What `console.log` shows. It asks no file system. */
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
    shown['state'] = this.#state === 'given as a number' || this.#state === 'kept' ? 'given' : this.#state;
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
      keep(owned) {
        owned.#state = 'kept';
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
          process.emitWarning(error as Error); // its owner has let go of it, so there is no caller to throw to
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
        if (owned.#state === 'closed' || owned.#state === 'kept' || owned.#registered) return false;
        return (owned.#registered = true);
      },
    };
    Object.assign(ownership, inside);
  }
}

/** Makes an owner for a number that the kernel has just returned in this thread. */
export function ownReceived(fd: number): OwnedFd {
  noteNumber(fd);
  return new OwnedFd(fd, JUST_GIVEN);
}

/**
 * Does the same for what holds the owner for others. Whoever lets go of it, or may itself be garbage, must call
 * `watchForGarbage` before: to watch takes longer than all else, and most are closed soon after they are handed out.
 */
export function ownHeld(fd: number): OwnedFd {
  noteNumber(fd);
  return new OwnedFd(fd, UNWATCHED);
}

/** Does the same for a socket that was made here and that nobody else has. */
export function ownMade(fd: number): OwnedFd {
  const owned = ownReceived(fd);
  ownership.setAlone(owned, true);
  return owned;
}

export { connectTo };

/** Notes the bytes that its sender had read from it. */
export function setUnread(owned: OwnedFd, bytes: Buffer | undefined): void {
  ownership.setUnread(owned, bytes);
}

/** Functions to call around a departure. */
export interface Witness {
  /** Called just before it departs. It may throw to prevent that. */
  last?(): void;
  /** Called just after it has departed. */
  departed?(): void;
}

/**
 * Makes a held object depart, and returns a duplicate of its descriptor; or resolves with it when the object can depart
 * only later. Throws, or rejects, if it cannot be sent, or with what `last` throws, and gives the object back.
 */
export function departing(node: NodeObject, witness: Witness = {}): OwnedFd | Promise<OwnedFd> {
  const stays = (error: unknown): never => {
    node.giveBack();
    throw error;
  };
  try {
    const departed = whenReady(node, () => {
      const { refusal } = node;
      if (refusal !== undefined) throw refusal;
      witness.last?.();
      const copy = duplicateOf(node);
      setUnread(copy, node.unread);
      node.depart();
      witness.departed?.();
      return copy;
    });
    return departed instanceof Promise ? departed.catch(stays) : departed;
  } catch (error) {
    return stays(error);
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

/** Returns the value if it is a number that a descriptor can have, and throws otherwise. */
export function validNumber(name: string, fd: unknown): number {
  if (typeof fd !== 'number') throw invalidType(name, 'a descriptor: a number, an OwnedFd, or an object with fd', fd);
  if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fffffff)
    throw outOfRange(name, 'an integer >= 0 and <= 2147483647 (-1 is what a closed OwnedFd has)', fd);
  return fd;
}
