import type { Socket as DatagramSocket } from 'node:dgram';
import { EventEmitter } from 'node:events';
import { ReadStream, WriteStream, linkSync, renameSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { departed, httpBusy, notOpen, queuedAlready, readAhead, tlsSocket, unreadText } from '../errors.js';
import { builtin } from '../common/lazy-modules.js';
import { addon } from '../native/load.js';
import { refuseIn } from '../native/runtime.js';
import {
  datagramNumber,
  Departure,
  handleOf,
  hasReadAhead,
  holdsText,
  isBusyWithHttp,
  isFileHandle,
  isUsedByTls,
  isReadingAhead,
  isStandardStream,
  isUsedByAgent,
  leavePool,
  leaveServer,
  Lookups,
  stopReading,
  stopReadingFile,
  stopReceiving,
  stopTimer,
  type Stopped,
  takeBuffered,
  watchOpening,
} from './node-internals.js';

/** Objects of Node that own a descriptor and know how to close it. */
export type NodeOwner = Socket | Server | DatagramSocket | FileHandle | ReadStream | WriteStream;

/** What waits until something can be sent. `send` makes it ask again. */
export interface Sender {
  send(): void;
}

/**
 * The descriptor of one of Node's own objects. Making this changes nothing in the object.
 *
 * From `hold` on, nothing here reads from the object, times it out or gives it to somebody else. From `depart` on,
 * nothing writes to it or closes it either. What is asked of it meanwhile waits for `giveBack`.
 */
export abstract class NodeObject<T extends NodeOwner = NodeOwner> {
  readonly object: T;

  constructor(object: T) {
    this.object = object;
  }

  /** The number, or `-1` if there is none: it is not open yet, or is closed. */
  abstract get fd(): number;

  /** Whether it will not have a descriptor again. */
  get gone(): boolean {
    return this.fd < 0;
  }

  /** Why it cannot be sent as it is now, if so. */
  get refusal(): Error | undefined {
    return this.gone ? notOpen(this.object) : undefined;
  }

  /** Bytes that were read from it here and that nobody has consumed. They are sent with it, or given back with it. */
  get unread(): Buffer | undefined {
    return undefined;
  }

  /** Whether it can be sent or refused now. If not, `sender` is called once when that may have changed. */
  ready(_sender: Sender): boolean {
    return true;
  }

  /** Begins the wait for a send. Throws if it cannot be sent, and then changes nothing. */
  hold(): void {
    if (held.has(this.object)) throw queuedAlready(this.object);
    const refusal = this.refusal;
    if (refusal !== undefined) throw refusal;
    this.stop();
    held.add(this.object);
  }

  /** Says that the message with it begins to leave. To be called when it is ready and not refused. */
  depart(): void {}

  /** Ends the wait. It works as before `hold`. */
  giveBack(): void {
    held.delete(this.object);
    if (!this.gone) this.goOn();
  }

  /** Closes its descriptor in the object's own way, when nobody borrows it any more. */
  close(): void {
    const loans = lent.get(this.object);
    if (loans !== undefined) {
      loans.whenOver = () => this.close();
      return;
    }
    if (this.fd >= 0 && addon.isLent(this.fd)) {
      // Somebody borrows its number, maybe in another thread. No event tells when that ends.
      setTimeout(() => this.close(), LOAN_CHECK).unref();
      return;
    }
    held.delete(this.object);
    if (!this.gone) this.dispose();
  }

  /** Lends it to a send. Throws if there is no descriptor. */
  lend(): void {
    if (this.fd < 0) throw notOpen(this.object);
    const loans = lent.get(this.object);
    if (loans === undefined) lent.set(this.object, { count: 1, whenOver() {} });
    else loans.count++;
  }

  endLoan(): void {
    const loans = lent.get(this.object)!;
    if (--loans.count > 0) return;
    lent.delete(this.object);
    loans.whenOver();
  }

  protected stop(): void {}
  protected goOn(): void {}
  protected abstract dispose(): void;
}

/** Milliseconds between two checks whether the loans have ended. */
const LOAN_CHECK = 5;

/** What waits to be sent. It cannot be sent a second time. */
const held = new WeakSet<object>();

/** What sends borrow, how often, and what to do when the last loan ends. */
const lent = new WeakMap<object, { count: number; whenOver: () => void }>();

/** Calls `act` at the moment when a held object can be sent or refused. If that is now, returns what it returns. */
export function whenReady<T>(node: NodeObject, act: () => T): T | Promise<T> {
  const sender: Sender = { send() {} };
  if (node.ready(sender)) return act();
  return new Promise((resolve, reject) => {
    sender.send = () => {
      try {
        if (node.ready(sender)) resolve(act());
      } catch (error) {
        reject(error);
      }
    };
    sender.send();
  });
}

/**
 * Returns `undefined` if the value is none of Node's objects, or one that is never closed (`process.stdout`). Throws
 * `ERR_FDPASSER_TLS` for a TLS socket, and `ERR_FDPASSER_RUNTIME` where the runtime's object cannot be sent.
 */
export function nodeObject(value: unknown): NodeObject | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (isFileHandle(value)) return new FileHandleObject(value);
  if (!(value instanceof EventEmitter) || isStandardStream(value)) return undefined;
  const { net, dgram } = builtin;
  if (value instanceof net.Socket) {
    if ('encrypted' in value) throw tlsSocket(); // a tls.TLSSocket; instanceof would need to load TLS
    refuseIn(['bun', 'deno'], 'Sending a net.Socket', SEND_A_NUMBER);
    return new SocketObject(value);
  }
  if (value instanceof net.Server) {
    refuseIn(['deno'], 'Sending a net.Server', SEND_A_NUMBER);
    return new ServerObject(value);
  }
  if (value instanceof dgram.Socket) {
    refuseIn(['deno'], 'Sending a dgram.Socket', SEND_A_NUMBER);
    return new DatagramObject(value);
  }
  if (value instanceof ReadStream) return new ReadStreamObject(value);
  if (value instanceof WriteStream) return new WriteStreamObject(value);
  return undefined;
}

const SEND_A_NUMBER = 'A descriptor that is no object of the runtime can be sent: an OwnedFd, a number';

abstract class StreamObject<T extends Socket | ReadStream | WriteStream> extends NodeObject<T> {
  #departure: Departure | undefined;

  override depart(): void {
    this.#departure ??= new Departure(this.object);
  }

  protected get departed(): boolean {
    return this.#departure !== undefined;
  }

  protected override goOn(): void {
    this.#departure?.goOn();
    this.#departure = undefined;
  }

  protected dispose(): void {
    if (this.#departure === undefined) this.object.destroy();
    else this.#departure.close(() => departed(this.object));
  }
}

/** A `net.Socket`, which may be a child's stdio. It is closed without shutdown(2). */
class SocketObject extends StreamObject<Socket> {
  readonly #handle = handleOf(this.object);
  #stopped: Stopped | undefined;
  #restores: (() => void)[] = [];
  #flowed = false;
  #unread: Buffer | undefined;
  #waiting = false;

  get fd(): number {
    return this.object.connecting ? -1 : numberIn(this.object, this.#handle);
  }

  override get refusal(): Error | undefined {
    if (super.refusal !== undefined) return super.refusal;
    if (isUsedByTls(this.object)) return tlsSocket();
    const held = this.#stopped !== undefined; // then its agent no longer has it
    if (isBusyWithHttp(this.object) || (!held && isUsedByAgent(this.object))) return httpBusy();
    return holdsText(this.object) ? unreadText() : undefined;
  }

  override get unread(): Buffer | undefined {
    if (this.#stopped !== undefined && this.object.readableLength > 0) {
      // This includes what was put back with unshift() since then.
      const before = takeBuffered(this.object);
      this.#unread = this.#unread === undefined ? before : Buffer.concat([before, this.#unread]);
    }
    return this.#unread;
  }

  override ready(sender: Sender): boolean {
    if (this.gone || isFlushed(this.object)) return true;
    if (this.#waiting) return false;
    this.#waiting = true;
    whenWritten(this.object, () => {
      this.#waiting = false;
      sender.send();
    });
    return false;
  }

  protected override stop(): void {
    this.#restores = [leavePool(this.object), leaveServer(this.object), stopTimer(this.object)];
    this.#flowed = this.object.readableFlowing === true;
    if (this.#flowed) this.object.pause();
    this.#stopped = stopReading(this.object);
  }

  protected override goOn(): void {
    const { unread } = this;
    super.goOn();
    if (this.gone) return; // destroyed since it departed
    this.#stopped?.goOn(unread);
    this.#stopped = undefined;
    this.#unread = undefined;
    if (this.#flowed) this.object.resume();
    for (const restore of this.#restores) restore();
  }

  protected override dispose(): void {
    this.#stopped?.end();
    super.dispose();
  }
}

/**
 * A server. It accepts here until it is sent, and from then on in the other process. Both have the same backlog, so no
 * connection is refused.
 */
class ServerObject extends NodeObject<Server> {
  readonly #handle = handleOf(this.object);

  get fd(): number {
    return numberIn(this.object, this.#handle);
  }

  protected dispose(): void {
    const address = this.object.address();
    // This is not http.Server's own close(), which also closes idle connections. Those do not belong to the listener.
    const close = (): void => void builtin.net.Server.prototype.close.call(this.object);
    if (typeof address === 'string' && !address.startsWith('\0')) keepingPath(address, close);
    else close();
  }
}

class DatagramObject extends NodeObject<DatagramSocket> {
  #lookups: Lookups | undefined;
  #receiveOn: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  get fd(): number {
    return datagramNumber(this.object);
  }

  override ready(sender: Sender): boolean {
    if (this.gone || this.#isFlushed) return true;
    this.#whenFlushed(() => sender.send());
    return false;
  }

  get #isFlushed(): boolean {
    return this.#lookups!.done && this.object.getSendQueueCount() === 0;
  }

  #whenFlushed(callback: () => void): void {
    if (!this.#lookups!.done) {
      this.#lookups!.whenDone = callback;
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(callback, 1); // no event tells when the kernel has taken it
  }

  override depart(): void {
    this.#receiveOn ??= stopReceiving(this.object);
  }

  protected override stop(): void {
    this.#lookups = new Lookups(this.object);
  }

  protected override goOn(): void {
    this.#lookups!.forget();
    this.#receiveOn?.();
    this.#receiveOn = undefined;
  }

  protected dispose(): void {
    if (this.gone) return; // closed while it waited
    if (!this.#isFlushed) {
      this.#whenFlushed(() => this.dispose());
      return;
    }
    this.#lookups!.forget();
    this.object.close();
  }
}

class FileHandleObject extends NodeObject<FileHandle> {
  get fd(): number {
    return this.object.fd;
  }

  protected dispose(): void {
    // Its owner has let go of it, so there is no caller to throw to.
    this.object.close().catch((error: Error) => process.emitWarning(error));
  }
}

abstract class FileStreamObject<T extends ReadStream | WriteStream> extends StreamObject<T> {
  #unwatch: (() => void) | undefined;

  get fd(): number {
    return (this.object as unknown as { fd: number | null }).fd ?? -1;
  }

  /** Whether it was destroyed, or could not be opened (with `autoClose: false` it is then not destroyed). */
  override get gone(): boolean {
    return !this.departed && (this.object.destroyed || (this.object.pending && this.object.errored !== null));
  }

  override ready(sender: Sender): boolean {
    if (this.gone || !this.object.pending) {
      this.#unwatch?.();
      this.#unwatch = undefined;
      return this.gone || this.done(sender);
    }
    this.#unwatch ??= watchOpening(this.object, () => sender.send());
    return false;
  }

  protected done(_sender: Sender): boolean {
    return true;
  }
}

class ReadStreamObject extends FileStreamObject<ReadStream> {
  #readOn: (() => void) | undefined;

  override get refusal(): Error | undefined {
    if (super.refusal !== undefined) return super.refusal;
    const reading = this.#readOn === undefined && isReadingAhead(this.object);
    return reading || hasReadAhead(this.object) ? readAhead() : undefined;
  }

  protected override stop(): void {
    this.#readOn = stopReadingFile(this.object);
  }

  protected override goOn(): void {
    super.goOn();
    this.#readOn?.();
    this.#readOn = undefined;
  }
}

class WriteStreamObject extends FileStreamObject<WriteStream> {
  #waiting = false;

  /** An error of the stream means that something written is not in the file. */
  override get refusal(): Error | undefined {
    return super.refusal ?? this.object.errored ?? undefined;
  }

  protected override done(sender: Sender): boolean {
    if (isFlushed(this.object) || this.object.errored !== null) return true;
    if (this.#waiting) return false;
    this.#waiting = true;
    whenWritten(this.object, () => {
      this.#waiting = false;
      sender.send();
    });
    return false;
  }
}

/** Its number, or -1 if it has connected or listened again, with another descriptor. */
function numberIn(object: Socket | Server, handle: ReturnType<typeof handleOf>): number {
  return handleOf(object) === handle ? (handle?.fd ?? -1) : -1;
}

/** Whether everything that was written has left this process, and also the end if `end()` was called. */
function isFlushed(stream: Socket | WriteStream): boolean {
  return stream.writableLength === 0 && (!stream.writableEnded || stream.writableFinished);
}

/** Calls back when everything written so far has left, or cannot leave any more, whatever the stream's listeners do. */
function whenWritten(stream: Socket | WriteStream, callback: () => void): void {
  while (stream.writableCorked > 0) stream.uncork(); // whoever corked it has given it away
  // Calls the prototype's write(), because net.Socket replaces its own after the peer's end.
  if (stream.writableEnded) (Writable.prototype.end as (callback: () => void) => unknown).call(stream, callback);
  else Writable.prototype.write.call(stream, '', 'utf8', callback);
}

/** Keeps a path that `close` removes. The path is missing only between the last two steps of closing. */
function keepingPath(path: string, close: () => void): void {
  const aside = join(dirname(path), `.${builtin.crypto.randomBytes(4).toString('hex')}`);
  const kept = [linkSync, renameSync].some((keep) => {
    try {
      keep(path, aside);
      return true;
    } catch {
      return false; // where the path cannot be put aside, `close` cannot remove it either
    }
  });
  close();
  if (kept) renameSync(aside, path);
}
