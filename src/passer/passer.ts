import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { InspectOptions } from 'node:util';
import { ABORTABLE, abortable, NO_OPTIONS, type Abortable } from '../common/abort.js';
import { viewOf } from '../common/bytes.js';
import { given, type FdLike } from '../descriptor/fd-like.js';
import { dropListenerTable } from '../descriptor/node-internals.js';
import { outgoing } from '../descriptor/outgoing.js';
import { OwnedFd } from '../descriptor/owned-fd.js';
import { CONNECT_OPTIONS, connectWith, type ConnectOptions } from '../endpoint/connect.js';
import { inherited, SPAWN_OPTIONS, spawnWith, type SpawnOptions } from '../endpoint/spawn.js';
import {
  checkBoolean,
  checkInteger,
  checkOptions,
  invalidType,
  outOfRange,
  pick,
  type Names,
} from '../common/arguments.js';
import { notAPair } from '../errors.js';
import { INSPECT, inspected, type Inspect } from '../common/inspect.js';
import { iterate } from '../common/iterate.js';
import type { WireStats } from '../wire/counters.js';
import type { SessionEvents } from '../wire/link-owner.js';
import type { OnError } from '../wire/session.js';
import { takeSocket } from '../wire/socket.js';
import { MAX_FDS, MAX_MESSAGES } from '../native/addon.js';
import { SOCKET_TYPES } from '../native/kinds.js';

import { PasserSession } from './session.js';
import { newPair, takePair, type UndecidedPair } from './undecided-pair.js';

/** One end of a socket, or both ends of a pair. */
type Ends = FdLike | readonly [FdLike, FdLike];

export interface FdPasserOptions {
  /**
   * One end of a connected AF_UNIX socket; or both ends of a pair, one of which `iAmParent` or `iAmChild` chooses; or
   * nothing, for a new stream pair. The passer takes over what it is given.
   */
  fh?: Ends | undefined;
  /** Whether the sockets' O_NONBLOCK is left as it is. The passer never blocks in either case. Default false. */
  dontSetNonblocking?: boolean | undefined;
  /**
   * Called once when the passer shuts down by itself: with the error, or with `undefined` if the peer ended in order.
   */
  onError?: OnError | undefined;
  /**
   * The most descriptors in one message, 1 to 253. More than 1 is for a peer that is known to take several. Default 1.
   */
  batch?: number | undefined;
  /** The bytes of each message, 1 to 64 of them. Default: one zero byte. */
  payload?: Uint8Array | undefined;
}

const OPTIONS: Names<Omit<FdPasserOptions, 'fh'>> = {
  dontSetNonblocking: true,
  onError: true,
  batch: true,
  payload: true,
};
const CONNECT: Names<Omit<FdPasserOptions, 'fh'> & ConnectOptions> = { ...OPTIONS, ...CONNECT_OPTIONS };

export interface FdPasserSpawnOptions extends SpawnOptions {
  /** Options of this process's passer. */
  passer?: Omit<FdPasserOptions, 'fh'> | undefined;
}

const SPAWN: Names<FdPasserSpawnOptions> = { ...SPAWN_OPTIONS, passer: true };

export interface ReceiveManyOptions extends Abortable {
  /** The most descriptors to take. Default 1024. */
  most?: number | undefined;
}

const RECEIVE_MANY: Names<ReceiveManyOptions> = { ...ABORTABLE, most: true };

/** What a passer has carried, and what waits. */
export interface PasserStats extends WireStats {
  /** Descriptors that wait to be sent. */
  queued: number;
  /** Descriptors received that nobody has taken yet. */
  waiting: number;
  /** Calls that wait for a descriptor. */
  asking: number;
}

export interface SendOptions extends Abortable {
  /** Whether the descriptor stays open here after it was sent, and stays the caller's. Default false: it is closed. */
  keepOpen?: boolean | undefined;
}

const PUSH: Names<{ keepOpen?: boolean | undefined }> = { keepOpen: true };
const SEND: Names<SendOptions> = { ...ABORTABLE, ...PUSH };

// Bytes. The kernel never splits a message as short as this, because even the smallest send buffer takes it whole.
const MAX_PAYLOAD = 64;
/** The default of `receiveMany`. Taking more at once saves nothing. */
const MOST_AT_ONCE = 1024;
const MAX_INT32 = 0x7fff_ffff;
const ONE_ZERO = new Uint8Array(MAX_MESSAGES);

/**
 * Passes descriptors to the process at the other end of an AF_UNIX socket, and receives descriptors from it.
 *
 * A passer has two queues, one for each direction. Both keep the order, and neither blocks. A descriptor is received
 * only when one was asked for. The event loop stays alive while something waits to be sent or received, but not for an
 * idle passer.
 *
 * When the peer ends or the socket breaks, what the peer had sent can still be received. After that the passer closes:
 * descriptors that were not sent are closed or, if they came from `send`, given back; promises reject, and `onError` is
 * called.
 */
export class FdPasser extends EventEmitter<SessionEvents> {
  readonly #session: PasserSession;

  /**
   * Takes over `fh`: one end of a connected AF_UNIX socket, or both ends of a pair. Without `fh` it makes a new stream
   * pair. `fh` may also be one of the options.
   *
   * Throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` for an unknown option, `ERR_OUT_OF_RANGE`, `EBADF` for a
   * number that is not open, `ENOTSOCK` and `EAFNOSUPPORT` for what is no AF_UNIX socket, `EINVAL` for one that
   * listens, and `EMFILE` if there is no room for a new pair. `fh` is then still the caller's.
   */
  constructor(fh: Ends, options?: Omit<FdPasserOptions, 'fh'>);
  constructor(options?: FdPasserOptions);
  constructor(first?: Ends | FdPasserOptions, second?: Omit<FdPasserOptions, 'fh'>) {
    super();
    dropListenerTable(this);
    const { name, fh, options } = given<Ends, Omit<FdPasserOptions, 'fh'>>(first, second, OPTIONS);
    const { onError, dontSetNonblocking = false, batch: most = 1, payload } = options;
    checkBoolean('options.dontSetNonblocking', dontSetNonblocking);
    checkInteger('options.batch', most, 1, MAX_FDS);
    this.#session = new PasserSession(this, onError, most, payload === undefined ? ONE_ZERO : repeated(payload));
    if (fh === undefined) this.#session.pair = newPair(dontSetNonblocking);
    else if (isPair(name, fh)) this.#session.pair = takePair(name, fh, dontSetNonblocking);
    else {
      const terms = { types: SOCKET_TYPES, keepBlocking: dontSetNonblocking };
      takeSocket(name, fh, terms, (socket) => this.#session.start(socket));
    }
  }

  /**
   * Connects to a listening socket. It has the options of `connect` too, and rejects with the errors of `connect` and
   * of the constructor.
   */
  static async connect(path: string, options: Omit<FdPasserOptions, 'fh'> & ConnectOptions = {}): Promise<FdPasser> {
    checkOptions(options, CONNECT);
    const own = pick<Omit<FdPasserOptions, 'fh'>>(options, OPTIONS);
    return connectWith(path, options, (fh) => new this(fh, own));
  }

  /**
   * Starts a child process that has the other end. The child calls `FdPasser.inherit()`, or receives at the descriptor
   * that `FDPASSER_FD` names in its environment. The child is started by `child_process.spawn`, or `fork`; if it could
   * not be started, `child` emits `'error'`. Throws what these functions throw, and `EMFILE` if there is no free
   * descriptor.
   */
  static spawn(
    command: string | URL,
    args: readonly string[] = [],
    options: FdPasserSpawnOptions = {},
  ): { child: ChildProcess; passer: FdPasser } {
    const { passer: own } = checkOptions(options, SPAWN);
    const { child, end } = spawnWith(command, args, options, (fh) => new this(fh, own));
    return { child, passer: end };
  }

  /**
   * To be called in a child process. Makes a passer of the socket that the parent gave. `fd` is the socket's place in
   * the parent's `stdio`. Without it, that is the number in `FDPASSER_FD`, which `spawn` of this library sets and which
   * is then deleted from the environment, or else 3. Throws what the constructor throws.
   */
  static inherit(fd?: number, options: Omit<FdPasserOptions, 'fh'> = {}): FdPasser {
    return inherited(fd, (fh) => new this(fh, options));
  }

  /**
   * The other end of a passer that was made from a pair, to put in `spawn`'s `stdio`. It is open until `iAmParent` or
   * `iAmChild`. Throws `ERR_FDPASSER_NOT_A_PAIR` after these, or if the passer was made from one descriptor, and
   * `ERR_FDPASSER_CLOSED` if the passer is closed.
   */
  get peer(): OwnedFd {
    const { peer } = this.#pair;
    this.#session.checkSendable();
    this.#session.expectChoice();
    return peer;
  }

  /**
   * To be called after the child was spawned. Keeps this process's end and closes `peer`. What was asked for before
   * begins now. Throws `ERR_FDPASSER_NOT_A_PAIR` unless the passer still has both ends.
   */
  iAmParent(): void {
    this.#session.checkSendable();
    this.#session.begin(this.#pair.chooseParent());
  }

  /** The reverse of `iAmParent`: keeps `peer` as this process's end, and closes the other. */
  iAmChild(): void {
    this.#session.checkSendable();
    this.#session.begin(this.#pair.chooseChild());
  }

  /**
   * Queues a descriptor to be sent. It is sent at the end of the current tick if the peer's buffer has room. From now
   * on the passer owns it, and closes it when it was sent, or if it cannot be sent. With `keepOpen` the caller keeps
   * it, and must leave it open until `sent` is called; an OwnedFd ensures that by itself.
   *
   * `sent` is called when the kernel has the descriptor, and it is closed here unless it is lent. The peer may not have
   * received it yet. One of Node's own objects is closed in its own way. A connection is sent when what was written to
   * it has left this process. Descriptors that were pushed later wait for that. If the connection closes by itself
   * before, it is not sent.
   *
   * Throws `ERR_FDPASSER_CLOSED`, `EBADF`, `ERR_FDPASSER_OWNED`, `ERR_FDPASSER_NOT_OWNED`, `ERR_FDPASSER_MANAGED`,
   * `ERR_FDPASSER_NOT_OPEN`, `ERR_FDPASSER_UNREAD`, `ERR_FDPASSER_TLS`, `ERR_FDPASSER_HTTP_BUSY` or an argument error.
   * The descriptor is then still the caller's.
   */
  pushSendFh(fh: FdLike, sent?: () => void): void;
  pushSendFh(fh: FdLike, options: { keepOpen?: boolean | undefined }, sent?: () => void): void;
  pushSendFh(fh: FdLike, second: { keepOpen?: boolean | undefined } | (() => void) = {}, third?: () => void): void {
    const [options, sent] = typeof second === 'object' ? [second, third] : [{}, second];
    const { keepOpen = false } = checkOptions(options, PUSH);
    checkBoolean('options.keepOpen', keepOpen);
    if (sent !== undefined && typeof sent !== 'function') throw invalidType('sent', 'a function', sent);
    this.#session.checkSendable();
    if (keepOpen && sent === undefined && fh instanceof OwnedFd) this.#session.enqueueLent(fh);
    else this.#session.enqueue(outgoing(fh, keepOpen ? 'keep' : 'close', true, sent));
  }

  /**
   * Asks for the next descriptor. `received` is called with it, and owns it. Callbacks are called in the order in which
   * they were pushed. Throws `ERR_FDPASSER_CLOSED` or an argument error.
   */
  pushRecvFh(received: (fd: OwnedFd) => void): void {
    if (typeof received !== 'function') throw invalidType('received', 'a function', received);
    this.#session.ask(received);
  }

  /**
   * Sends a descriptor to the peer, and takes it over: it is closed here when the kernel has it, unless `keepOpen`.
   * Resolves when the kernel has it, which may be before the peer has received it.
   *
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (only if it was not sent), the system's error, or an error that
   * `pushSendFh` throws. The descriptor is then still the caller's, unchanged.
   */
  send(fh: FdLike, options: SendOptions = {}): Promise<void> {
    return abortable(options, SEND, (resolve, reject) => {
      const { keepOpen = false } = options;
      checkBoolean('options.keepOpen', keepOpen);
      this.#session.checkSendable();
      const waiting = outgoing(fh, keepOpen ? 'keep' : 'return', true, resolve, reject);
      this.#session.enqueue(waiting);
      return (error) => {
        if (!this.#session.withdraw(waiting)) return;
        reject(error);
        this.#session.closeIfDone();
      };
    });
  }

  /**
   * Resolves with the next descriptor, which is the caller's to close.
   *
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (this loses no descriptor: the next `receive` gets it), or the
   * error that broke the passer.
   */
  receive(options: Abortable = NO_OPTIONS): Promise<OwnedFd> {
    return this.#session.receive(options, asItIs);
  }

  /**
   * Resolves with several descriptors at once, for a peer that sends many. As soon as there is one, it brings all that
   * one system call receives, up to `most`. They are the caller's to close; `OwnedFd.closeAll` closes them at once.
   *
   * Rejects with the errors of `receive`, and with `ERR_OUT_OF_RANGE` or `ERR_INVALID_ARG_TYPE` for `most`.
   */
  async receiveMany(options: ReceiveManyOptions = {}): Promise<OwnedFd[]> {
    const { most = MOST_AT_ONCE, signal } = checkOptions(options, RECEIVE_MANY);
    return this.#session.receiveMany(checkInteger('options.most', most, 1, MAX_INT32), { signal });
  }

  /**
   * The descriptors as they come, until the peer ends or the passer is closed. Throws the error that breaks the passer.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<OwnedFd> {
    return iterate(
      (signal) => this.receive({ signal }),
      () => this.#session.inOrder,
      () => this.#session.failure,
    );
  }

  /**
   * Sends what is queued, then closes. Nothing more is received: calls that wait for that are refused at once. Resolves
   * when the passer is closed, even if an error or the peer closed it before everything was sent. Each send, and
   * `onError`, reports that.
   */
  close(): Promise<void> {
    return this.#session.close();
  }

  /**
   * Closes at once. What was not sent is closed or, if it came from `send`, given back. Promises reject with `error` or
   * `ERR_FDPASSER_CLOSED`. With an error, `onError` and `'error'` report it. Does nothing if the passer is closed
   * already.
   */
  destroy(error?: Error): void {
    this.#session.destroy(error);
  }

  /** What was carried so far, and what waits now. */
  stats(): PasserStats {
    const { carried, queued, waiting, asking } = this.#session;
    return { ...carried, queued, waiting, asking };
  }

  /** @internal */
  [INSPECT](_depth: number, options: InspectOptions, inspect: Inspect): string {
    const { state, undecided, queued, waiting, asking } = this.#session;
    const shown = state === 'open' && undecided ? 'side not chosen' : state;
    return inspected(this, { state: shown, queued, waiting, asking }, options, inspect);
  }

  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #pair(): UndecidedPair {
    const { pair } = this.#session;
    if (pair === undefined) throw notAPair();
    return pair;
  }
}

function asItIs(fd: OwnedFd): OwnedFd {
  return fd;
}

function isPair(name: string, fh: Ends): fh is readonly [FdLike, FdLike] {
  if (!Array.isArray(fh)) return false;
  if (fh.length !== 2) throw invalidType(name, 'a descriptor, or two', fh);
  return true;
}

/** The payload, repeated for all messages that one call can send. */
function repeated(payload: Uint8Array): Uint8Array {
  const bytes = viewOf('options.payload', payload, 'a Uint8Array');
  if (bytes.length < 1 || bytes.length > MAX_PAYLOAD)
    throw outOfRange('options.payload.length', `>= 1 and <= ${MAX_PAYLOAD}`, bytes.length);
  return Buffer.concat(Array.from({ length: MAX_MESSAGES }, () => bytes));
}
