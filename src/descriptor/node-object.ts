import type { Socket as DatagramSocket } from 'node:dgram';
import { EventEmitter } from 'node:events';
import { ReadStream, WriteStream, linkSync, renameSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Server, Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { Writable, type Readable } from 'node:stream';
import { httpBusy, notOpen, queuedAlready, readAhead, tlsSocket, unreadText } from '../errors.js';
import { builtin } from '../native/builtin.js';
import { refuseIn } from '../native/runtime.js';
import {
  datagramNumber,
  handleNumber,
  hasReadAhead,
  holdsText,
  isBusyWithHttp,
  isFileHandle,
  isReadByTls,
  isStandardStream,
  stopReading,
  takeBuffered,
} from './node-internals.js';

/** Objects of Node that own a descriptor and know how to close it. A `FileHandle` is one, too. */
export type NodeOwner = Socket | Server | DatagramSocket | FileHandle | ReadStream | WriteStream;

/** Asks again, when it is told, whether what it waits for can be sent. */
export interface Sender {
  send(): void;
}

/** The descriptor of one of Node's own objects. Making this changes nothing there. */
export abstract class NodeObject<T extends NodeOwner = NodeOwner> {
  readonly object: T;

  constructor(object: T) {
    this.object = object;
  }

  /** `-1` when there is none: not yet, or not any more. */
  abstract get fd(): number;

  /** Whether it will have none any more. */
  get gone(): boolean {
    return this.fd < 0;
  }

  /** What stands against sending it as it is now. */
  get refusal(): Error | undefined {
    return this.gone ? notOpen(this.object) : undefined;
  }

  /** Bytes that were read from it here and that nobody has consumed. They go with it, or are given back with it. */
  get unread(): Buffer | undefined {
    return undefined;
  }

  /** Whether it can be sent, or refused, now. If not, `sender` is told once that may have changed. */
  ready(_sender: Sender): boolean {
    return true;
  }

  /** It begins to wait for being sent. Throws, changing nothing, what stands against that. */
  hold(): void {
    if (held.has(this.object)) throw queuedAlready(this.object);
    const refusal = this.refusal;
    if (refusal !== undefined) throw refusal;
    this.stop();
    held.add(this.object);
  }

  /** It works as before `hold`. */
  giveBack(): void {
    held.delete(this.object);
    if (!this.gone) this.goOn();
  }

  /** Closes its descriptor, as it does that itself. */
  close(): void {
    held.delete(this.object);
    if (!this.gone) this.dispose();
  }

  protected stop(): void {}
  protected goOn(): void {}
  protected abstract dispose(): void;
}

/** What waits to be sent: nothing can be sent twice. */
const held = new WeakSet<object>();

/** Throws `ERR_FDPASSER_TLS` for a TLS socket. `undefined` for what is none of Node's objects, or never closes. */
export function nodeObject(value: unknown): NodeObject | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (isFileHandle(value)) return new FileHandleObject(value);
  if (!(value instanceof EventEmitter) || isStandardStream(value)) return undefined;
  const { net, dgram } = builtin;
  if (value instanceof net.Socket) {
    if ('encrypted' in value) throw tlsSocket(); // a tls.TLSSocket, without loading TLS to tell
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

/** Also a child's stdio. */
class SocketObject extends NodeObject<Socket> {
  #readOn: ((unread: Buffer | undefined) => void) | undefined;
  #flowed = false;
  #unread: Buffer | undefined;
  #waiting = false;

  get fd(): number {
    return this.object.connecting ? -1 : handleNumber(this.object);
  }

  override get refusal(): Error | undefined {
    if (super.refusal !== undefined) return super.refusal;
    if (isReadByTls(this.object)) return tlsSocket();
    if (this.#readOn === undefined && isBusyWithHttp(this.object)) return httpBusy();
    return holdsText(this.object) ? unreadText() : undefined;
  }

  override get unread(): Buffer | undefined {
    if (this.#readOn !== undefined && this.object.readableLength > 0) {
      // Also what was put back since then.
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
    this.#flowed = this.object.readableFlowing === true;
    if (this.#flowed) this.object.pause();
    this.#readOn = stopReading(this.object);
  }

  protected override goOn(): void {
    this.#readOn?.(this.unread);
    this.#readOn = undefined;
    this.#unread = undefined;
    if (this.#flowed) this.object.resume();
  }

  protected dispose(): void {
    this.object.destroy(); // closes it without shutdown(2)
  }
}

/**
 * Until it is sent it accepts here, and from then on in the other process; both have the same backlog, so none is
 * refused.
 */
class ServerObject extends NodeObject<Server> {
  get fd(): number {
    return handleNumber(this.object);
  }

  protected dispose(): void {
    const address = this.object.address();
    // Not http.Server's own close(), which also closes idle connections: they are not the listener's.
    const close = (): void => void builtin.net.Server.prototype.close.call(this.object);
    if (typeof address === 'string' && !address.startsWith('\0')) keepingPath(address, close);
    else close();
  }
}

class DatagramObject extends NodeObject<DatagramSocket> {
  get fd(): number {
    return datagramNumber(this.object);
  }

  override ready(sender: Sender): boolean {
    if (this.gone || this.object.getSendQueueCount() === 0) return true;
    setTimeout(() => sender.send(), 1); // nothing tells when it has sent
    return false;
  }

  protected dispose(): void {
    this.object.close();
  }
}

class FileHandleObject extends NodeObject<FileHandle> {
  get fd(): number {
    return this.object.fd;
  }

  protected dispose(): void {
    this.object.close().catch((error: Error) => process.emitWarning(error)); // its owner has let go of it
  }
}

abstract class FileStreamObject<T extends ReadStream | WriteStream> extends NodeObject<T> {
  #waiting = false;

  get fd(): number {
    return (this.object as unknown as { fd: number | null }).fd ?? -1;
  }

  override get gone(): boolean {
    return this.object.destroyed;
  }

  override ready(sender: Sender): boolean {
    if (this.gone || (!this.object.pending && this.done())) return true;
    if (this.#waiting) return false;
    this.#waiting = true;
    this.wait(() => {
      this.#waiting = false;
      sender.send();
    });
    return false;
  }

  protected done(): boolean {
    return true;
  }

  protected abstract wait(then: () => void): void;

  protected dispose(): void {
    this.object.destroy();
  }
}

class ReadStreamObject extends FileStreamObject<ReadStream> {
  override get refusal(): Error | undefined {
    return super.refusal ?? (hasReadAhead(this.object) ? readAhead() : undefined);
  }

  protected wait(then: () => void): void {
    onceEither(this.object, 'open', then);
  }
}

class WriteStreamObject extends FileStreamObject<WriteStream> {
  protected override done(): boolean {
    return isFlushed(this.object);
  }

  protected wait(then: () => void): void {
    whenWritten(this.object, then);
  }
}

/** Whether all that was written has left this process, and the end, if `end()` was called. */
function isFlushed(stream: Socket | WriteStream): boolean {
  return stream.writableLength === 0 && (!stream.writableEnded || stream.writableFinished);
}

/** Calls back when what is written by now was, or can be no more. */
function whenWritten(stream: Socket | WriteStream, callback: () => void): void {
  while (stream.writableCorked > 0) stream.uncork(); // whoever corked it has handed it over
  if (stream.writableEnded) onceEither(stream, 'finish', callback);
  // net.Socket replaces its own write() after the peer's end.
  else Writable.prototype.write.call(stream, '', 'utf8', () => callback());
}

/** Calls back at the first of an event and `'close'`. */
function onceEither(stream: Readable | Writable, event: 'open' | 'finish', callback: () => void): void {
  const once = (): void => {
    stream.off(event, once);
    stream.off('close', once);
    callback();
  };
  stream.on(event, once);
  stream.on('close', once);
}

/** Keeps a path that `close` removes: it is missing only between the two last steps of closing. */
function keepingPath(path: string, close: () => void): void {
  const aside = join(dirname(path), `.${builtin.crypto.randomBytes(4).toString('hex')}`);
  const kept = [linkSync, renameSync].some((keep) => {
    try {
      keep(path, aside);
      return true;
    } catch {
      return false; // where nothing can be put aside, nothing can be removed either
    }
  });
  close();
  if (kept) renameSync(aside, path);
}
