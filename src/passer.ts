import { EventEmitter } from 'node:events';
import { nextTick } from 'node:process';
import { abortable, type Abortable } from './abort.js';
import { Custody } from './descriptor/custody.js';
import type { FdLike } from './descriptor/fd-like.js';
import { BareOutgoing, type Outgoing } from './descriptor/outgoing.js';
import { ownReceived, type OwnedFd } from './descriptor/owned-fd.js';
import { socketpair } from './endpoint/pair.js';
import {
  checkBoolean,
  checked,
  checkInteger,
  checkOptions,
  invalidType,
  notAPair,
  outOfRange,
  plainData,
} from './errors.js';
import { iterate } from './iterate.js';
import { Life, type LifeEvents, type OnError } from './life.js';
import { checkSocket, Link, type LinkOwner } from './link/link.js';
import { MAX_FDS, MAX_MESSAGES } from './native/addon.js';
import { addon, batch } from './native/load.js';
import { Queue } from './queue.js';

export interface FdPasserOptions {
  /**
   * One end of a connected AF_UNIX socket; or both ends of a pair, for `iAmParent` and `iAmChild` to choose from; or
   * nothing, for a new stream pair. The passer takes over what it is given.
   */
  fh?: FdLike | readonly [FdLike, FdLike];
  /** Leave the sockets' O_NONBLOCK as it is. The passer never blocks either way. */
  dontSetNonblocking?: boolean;
  /** Called once when the passer shuts down by itself: with the error, or with `undefined` when the peer ended in order. */
  onError?: OnError;
  /** How many descriptors one message may carry, 1 to 253, for a peer known to take several. Default 1. */
  batch?: number;
  /** The bytes of each message, 1 to 64. Default one zero byte. */
  payload?: Uint8Array;
}

export interface ReceiveManyOptions extends Abortable {
  /** How many to take at most. Default 1024. */
  most?: number;
}

export interface SendOptions extends Abortable {
  /** Leave the descriptor open here after it was sent; it stays the caller's. Default false: it is closed. */
  keepOpen?: boolean;
}

// The kernel never splits a message as short as this: even the smallest send buffer takes it whole.
const MAX_PAYLOAD = 64;
/** What `receiveMany` takes unless told otherwise: beyond that, more in one call saves nothing. */
const MOST_AT_ONCE = 1024;
const MAX_INT32 = 0x7fff_ffff;
/** Room for the payload of each message received, ours or another program's. */
const STRIDE = 256;
/** Payloads are looked at by nobody, so all passers of a thread share the room. */
const ROOM = new Uint8Array(STRIDE * MAX_MESSAGES);
const ONE_ZERO = new Uint8Array(MAX_MESSAGES);

/**
 * Passes descriptors to, and takes them from, the process at the other end of an AF_UNIX socket.
 *
 * Two queues, one each way, both in order and neither blocking. A descriptor is received only when one was asked for. The
 * event loop lives on while something waits to be sent or received, not for an idle passer.
 *
 * When the peer ends or the socket breaks, what the peer had sent can still be received; after that the passer closes:
 * descriptors not sent are closed or, from `send`, given back, promises reject, and `onError` is called.
 */
export class FdPasser extends EventEmitter<LifeEvents> {
  readonly #life: Life<OwnedFd>;
  readonly #wire: LinkOwner;
  #link: Link | undefined;
  /** Until one end of a pair was chosen. */
  #parentEnd: Custody | undefined;
  #peer: OwnedFd | undefined;

  readonly #sends = new Queue<Outgoing>();
  readonly #batch: number;
  /** So many descriptors go one by one: one of them made the kernel refuse the message they were in. */
  #singly = 0;

  /**
   * Throws, taking nothing over: `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`, `EBADF` for a number that is not open,
   * `ENOTSOCK` and `EAFNOSUPPORT` for what is no AF_UNIX socket, `EINVAL` for one that listens, `EMFILE` when there is no
   * room for a new pair.
   */
  constructor(options: FdPasserOptions = {}) {
    super();
    const { fh, onError, dontSetNonblocking = false, batch: most = 1, payload } = checkOptions(options);
    checkBoolean('options.dontSetNonblocking', dontSetNonblocking);
    this.#batch = checkInteger('options.batch', most, 1, MAX_FDS);
    this.#life = new Life(this, this.#alive(), onError);
    this.#wire = this.#owner(payload === undefined ? ONE_ZERO : repeated(payload));

    const ends = fh === undefined ? takePair(!dontSetNonblocking) : take(fh, !dontSetNonblocking);
    if (ends.length === 2) {
      [this.#parentEnd, this.#peer] = ends;
      return;
    }
    try {
      this.#start(ends[0]);
    } catch (error) {
      ends[0].giveBack();
      throw error;
    }
  }

  /**
   * In a child process: the passer over the socket that its parent named in `spawn`'s `stdio`. `fd` is its place there.
   * Throws as the constructor does.
   */
  static inherit(fd = 3): FdPasser {
    return new FdPasser({ fh: fd });
  }

  /**
   * The other end of a passer made from a pair, to name in `spawn`'s `stdio`. Open until `iAmParent` or `iAmChild`.
   * Throws `ERR_FDPASSER_NOT_A_PAIR` when the passer was made from one descriptor.
   */
  get peer(): OwnedFd {
    if (this.#peer === undefined) throw notAPair();
    return this.#peer;
  }

  /**
   * After the child was spawned: keeps this process's end and closes `peer`. What was asked for before begins now.
   * Throws `ERR_FDPASSER_NOT_A_PAIR` unless the passer still has both ends.
   */
  iAmParent(): void {
    const [parentEnd, peer] = this.#ends();
    peer.close();
    this.#begin(parentEnd);
  }

  /** The reverse of `iAmParent`: keeps `peer` as this process's end and closes the other. */
  iAmChild(): void {
    const [parentEnd, peer] = this.#ends();
    const childEnd = new Custody('peer', peer);
    parentEnd.close();
    this.#begin(childEnd);
  }

  /**
   * Queues a descriptor to be sent, at the end of the current tick if the peer's buffer has room. It is the passer's from
   * now on: closed once it was sent, or if it cannot be. With `keepOpen` it stays the caller's, who must leave it open
   * until `sent` is called; an OwnedFd takes care of that by itself.
   *
   * `sent` is called when the kernel has it, and it is closed here; the peer may not have received it yet.
   * One of Node's own objects is closed as it closes itself. A connection is sent when what was written to it has left
   * this process, and what was pushed later waits for that; if it closes by itself before, it is not sent.
   *
   * Throws `ERR_FDPASSER_CLOSED`, `EBADF`, `ERR_FDPASSER_OWNED`, `ERR_FDPASSER_NOT_OWNED`, `ERR_FDPASSER_MANAGED`,
   * `ERR_FDPASSER_NOT_OPEN`, `ERR_FDPASSER_UNREAD`, `ERR_FDPASSER_TLS`, `ERR_FDPASSER_HTTP_BUSY` or an argument error; the
   * descriptor is then still the caller's.
   */
  pushSendFh(fh: FdLike, sent?: () => void): void;
  pushSendFh(fh: FdLike, options: { keepOpen?: boolean }, sent?: () => void): void;
  pushSendFh(fh: FdLike, second: { keepOpen?: boolean } | (() => void) = {}, third?: () => void): void {
    const [options, sent] = typeof second === 'object' ? [second, third] : [{}, second];
    const { keepOpen = false } = checkOptions<{ keepOpen?: boolean }>(options);
    checkBoolean('options.keepOpen', keepOpen);
    if (sent !== undefined && typeof sent !== 'function') throw invalidType('sent', 'a function', sent);
    this.#life.checkSendable();
    this.#enqueue(new BareOutgoing(fh, keepOpen ? 'keep' : 'close', sent));
  }

  /**
   * Asks for the next descriptor: `received` is called with it, and owns it. Callbacks are called in the order pushed.
   * Throws `ERR_FDPASSER_CLOSED` or an argument error.
   */
  pushRecvFh(received: (fd: OwnedFd) => void): void {
    if (typeof received !== 'function') throw invalidType('received', 'a function', received);
    this.#life.ask(received);
  }

  /**
   * Sends a descriptor to the peer. Takes it over: it is closed here once the kernel has it, unless `keepOpen`.
   * Resolves when the kernel has it, not when the peer has received it.
   *
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (only if it was not sent), the system's error, or as
   * `pushSendFh` throws. The descriptor is then still the caller's, as it was.
   */
  send(fh: FdLike, options: SendOptions = {}): Promise<void> {
    return abortable(options, (resolve, reject) => {
      const { keepOpen = false } = options;
      checkBoolean('options.keepOpen', keepOpen);
      this.#life.checkSendable();
      const outgoing = new BareOutgoing(fh, keepOpen ? 'keep' : 'return', resolve, reject);
      this.#enqueue(outgoing);
      return (error) => {
        if (!this.#sends.remove(outgoing)) return;
        outgoing.unsent();
        reject(error);
        this.#life.closeIfDone();
      };
    });
  }

  /**
   * The next descriptor, which is the caller's to close.
   *
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (no descriptor is lost by it: the next `receive` gets it), or the
   * error that broke the passer.
   */
  receive(options: Abortable = {}): Promise<OwnedFd> {
    return this.#life.receive(options);
  }

  /**
   * Several descriptors at once, for a peer that sends many: as soon as there is one, all that one call of the kernel
   * brings, up to `most`. They are the caller's to close; `OwnedFd.closeAll` does it at once.
   *
   * Rejects as `receive` does, and with `ERR_OUT_OF_RANGE` or `ERR_INVALID_ARG_TYPE` for `most`.
   */
  async receiveMany(options: ReceiveManyOptions = {}): Promise<OwnedFd[]> {
    const { most = MOST_AT_ONCE } = checkOptions(options);
    return this.#life.receiveMany(checkInteger('options.most', most, 1, MAX_INT32), options);
  }

  /** Descriptors as they come, until the peer ends or the passer is closed. Throws the error that breaks it. */
  [Symbol.asyncIterator](): AsyncIterableIterator<OwnedFd> {
    return iterate(
      (signal) => this.receive({ signal }),
      () => this.#life.inOrder,
    );
  }

  /**
   * Sends what is queued, then closes. Nothing more is received: whoever waits for that is refused at once.
   * Resolves when the passer is closed, also when an error or the peer closed it before everything was sent: each send,
   * and `onError`, tells that.
   */
  close(): Promise<void> {
    return this.#life.close();
  }

  /**
   * Closes at once. What was not sent is closed or, from `send`, given back; promises reject with `error` or
   * `ERR_FDPASSER_CLOSED`. With an error, `onError` and `'error'` tell it. Does nothing when closed already.
   */
  destroy(error?: Error): void {
    if (error === undefined) this.#life.finish('destroy() was called');
    else this.#life.fail(error);
  }

  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ---- both ends of a pair

  #ends(): [Custody, OwnedFd] {
    this.#life.checkSendable();
    if (this.#parentEnd === undefined || this.#peer === undefined) throw notAPair();
    return [this.#parentEnd, this.#peer];
  }

  #begin(socket: Custody): void {
    this.#parentEnd = undefined;
    try {
      this.#start(socket);
    } catch (error) {
      socket.close();
      this.#life.finish((error as Error).message);
      throw error;
    }
  }

  #start(socket: Custody): void {
    this.#link = new Link(socket, this.#wire);
    if (this.#sends.length > 0) this.#link.send();
    this.#link.receive();
  }

  // ---- sending

  #enqueue(outgoing: Outgoing): void {
    this.#sends.push(outgoing);
    this.#wake();
  }

  readonly #wake = (): void => this.#link?.send();

  #fill(payload: number): number {
    let messages = 0;
    let descriptors = 0;
    let next = this.#firstSendable();
    while (next !== undefined && messages < MAX_MESSAGES) {
      const most = this.#singly > messages ? 1 : this.#batch;
      let count = 0;
      for (; next !== undefined && count < most; next = this.#sendable(this.#sends.after(next)), count++)
        batch.fd[descriptors++] = next.number;
      batch.size[messages] = payload;
      batch.count[messages++] = count;
    }
    return messages;
  }

  #firstSendable(): Outgoing | undefined {
    for (let first = this.#sends.first; first?.ready(this.#wake); first = this.#sends.first) {
      const { refusal } = first;
      if (refusal === undefined) return first;
      this.#sends.shift();
      first.giveBack();
      this.#tellRefused(first, refusal);
    }
    return undefined;
  }

  /** The same one, if its turn has come. */
  #sendable(outgoing: Outgoing | undefined): Outgoing | undefined {
    return outgoing?.ready(this.#wake) && outgoing.refusal === undefined ? outgoing : undefined;
  }

  #sent(messages: number): void {
    const toTell: (() => void)[] = [];
    for (let i = 0, left = 0; i < messages; i++) {
      this.#singly = Math.max(0, this.#singly - 1);
      for (left = batch.count[i]!; left > 0; left--) {
        const outgoing = this.#sends.shift()!;
        outgoing.letGo();
        if (outgoing.whenSent !== undefined) toTell.push(outgoing.whenSent);
      }
    }
    try {
      tell(toTell);
    } finally {
      this.#life.closeIfDone();
    }
  }

  /** Of several descriptors in a message the kernel does not say which it refused, so they go again one by one. */
  #refused(error: Error): void {
    if (batch.count[0]! > 1) {
      this.#singly = batch.count[0]!;
      return;
    }
    this.#singly = Math.max(0, this.#singly - 1);
    const outgoing = this.#sends.shift()!;
    outgoing.unsent();
    this.#tellRefused(outgoing, error);
  }

  #tellRefused(outgoing: Outgoing, error: Error): void {
    // A connection that breaks while it waits is no reason to end: its owner sees that on the socket.
    if (outgoing.whenRefused === undefined && !outgoing.gone) this.#life.fail(error);
    else {
      outgoing.whenRefused?.(error);
      this.#life.closeIfDone();
    }
  }

  #dropSends(error: Error): void {
    for (let next = this.#sends.shift(); next; next = this.#sends.shift()) {
      next.unsent();
      next.whenRefused?.(error);
    }
  }

  // ---- receiving

  #received(messages: number): void {
    let plain = 0;
    let next = 0;
    for (let i = 0; i < messages; i++) {
      const end = next + batch.count[i]!;
      if (next === end) plain ||= batch.size[i]!;
      for (; next < end; next++) this.#life.put(ownReceived(batch.fd[next]!));
    }
    try {
      this.#life.deliver();
    } finally {
      if (plain > 0) this.#life.fail(plainData(plain));
    }
  }

  // ---- what others see of it

  #alive() {
    return {
      what: 'passer',
      unsent: () => this.#link !== undefined && this.#sends.length > 0,
      asked: () => this.#link?.receive(),
      discard: (fd: OwnedFd) => fd.close(),
      dropUnsent: (error: Error) => this.#dropSends(error),
      dropAll: (error: Error) => this.#dropSends(error),
      disconnect: () => {
        this.#link?.destroy();
        this.#parentEnd?.close();
        this.#parentEnd = undefined;
        this.#peer?.close();
      },
    };
  }

  #owner(bytes: Uint8Array): LinkOwner {
    const payload = bytes.length / MAX_MESSAGES;
    return {
      bytes,
      fill: () => this.#fill(payload),
      sent: (messages) => this.#sent(messages),
      refused: (error) => this.#refused(error),
      cannotSend: (error) => {
        this.#life.cannotSend(error, true);
        return true;
      },
      room: ROOM,
      stride: STRIDE,
      wanted: () => this.#life.wanted,
      awaits: () => this.#life.wanted > 0,
      received: (messages) => this.#received(messages),
      exhausted: () => this.#life.emitLater('exhausted'),
      resumed: () => this.#life.emitLater('resumed'),
      peerEnded: () => {},
      mayStillSend: () => this.#sends.length > 0,
      ended: (error) => this.#life.ended(error),
    };
  }
}

function tell(callbacks: readonly (() => void)[], from = 0): void {
  let next = from;
  try {
    while (next < callbacks.length) callbacks[next++]!();
  } finally {
    // A callback threw: the others are called all the same.
    if (next < callbacks.length) nextTick(tell, callbacks, next);
  }
}

/** Takes a new pair over. If it throws, none is open. */
function takePair(setNonblocking: boolean): ReturnType<typeof take> {
  const pair = socketpair();
  try {
    return take(pair, setNonblocking);
  } catch (error) {
    for (const end of pair) end.close();
    throw error;
  }
}

/** Takes one socket over, or two: the second then has a new owner, for `peer`. If it throws, nothing was taken. */
function take(fh: FdLike | readonly [FdLike, FdLike], setNonblocking: boolean): [Custody] | [Custody, OwnedFd] {
  const given = Array.isArray(fh) ? (fh as readonly FdLike[]) : [fh as FdLike];
  if (given.length !== 1 && given.length !== 2) throw invalidType('options.fh', 'a descriptor, or two', fh);
  const taken: Custody[] = [];
  try {
    for (const end of given) {
      const custody = new Custody('options.fh', end);
      taken.push(custody);
      checkSocket(custody.fd);
      custody.refuseUnread();
      checked(addon.closeOnExec(custody.fd), 'fcntl');
      if (setNonblocking) checked(addon.setNonblocking(custody.fd), 'fcntl');
    }
    const [one, other] = taken as [Custody, Custody?];
    return other === undefined ? [one] : [one, other.own()];
  } catch (error) {
    for (const custody of taken) custody.giveBack();
    throw error;
  }
}

/** The payload of as many messages as one call carries. */
function repeated(payload: Uint8Array): Uint8Array {
  if (!(payload instanceof Uint8Array)) throw invalidType('options.payload', 'a Uint8Array', payload);
  if (payload.length < 1 || payload.length > MAX_PAYLOAD)
    throw outOfRange('options.payload.length', `>= 1 and <= ${MAX_PAYLOAD}`, payload.length);
  return Buffer.concat(Array.from({ length: MAX_MESSAGES }, () => payload));
}
