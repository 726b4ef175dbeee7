import type { ChildProcess } from 'node:child_process';
import { addAbortSignal, Duplex, type DuplexOptions } from 'node:stream';
import type { InspectOptions } from 'node:util';
import { checkSignal } from '../common/abort.js';
import {
  checkBoolean,
  checkOptions,
  invalidType,
  invalidValue,
  outOfRange,
  pick,
  type Names,
} from '../common/arguments.js';
import { INSPECT, inspected, type Inspect } from '../common/inspect.js';
import { viewOf } from '../common/bytes.js';
import type { Custody } from '../descriptor/custody.js';
import { given, type FdLike } from '../descriptor/fd-like.js';
import { outgoingAll } from '../descriptor/outgoing.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { connectWith, type ConnectOptions } from '../endpoint/connect.js';
import { inherited, SPAWN_OPTIONS, spawnWith, type SpawnOptions } from '../endpoint/spawn.js';
import { closed } from '../errors.js';
import { MAX_FDS } from '../native/addon.js';
import type { WireStats } from '../wire/counters.js';
import { takeSocket } from '../wire/socket.js';
import { StreamSession, type Written } from './session.js';

/** What the listeners of `'fds'` are given. */
type Form = 'owned' | 'number';
type Brought<F extends Form> = F extends 'number' ? number[] : OwnedFd[];

export interface FdStreamOptions<F extends Form = Form> {
  /**
   * How many bytes may wait to be written before `write` returns false, and to be read before receiving pauses. Default
   * 65536.
   */
  highWaterMark?: number | undefined;
  /** Whether `'fds'` brings OwnedFds, or bare numbers, for programs written for these. Default `'owned'`. */
  fds?: F | undefined;
  /**
   * Whether this end can still be written to after the peer has ended. Default false: this end then ends too, as with
   * `net.Socket`.
   */
  allowHalfOpen?: boolean | undefined;
  /** Destroys the stream when aborted. */
  signal?: AbortSignal | undefined;
}

const OPTIONS: Names<FdStreamOptions> = { highWaterMark: true, fds: true, allowHalfOpen: true, signal: true };
const CONNECT: Names<FdStreamOptions & Omit<ConnectOptions, 'type'>> = { ...OPTIONS, timeout: true };

export interface WriteWithFdsOptions {
  /**
   * Whether the descriptors stay open here, and stay the caller's. Default false: they are closed when they are sent.
   */
  keepOpen?: boolean | undefined;
}

const WRITE: Names<WriteWithFdsOptions> = { keepOpen: true };

export interface FdStreamSpawnOptions<F extends Form = Form> extends SpawnOptions {
  /** Options of this process's stream. */
  stream?: FdStreamOptions<F> | undefined;
}

const SPAWN: Names<FdStreamSpawnOptions> = { ...SPAWN_OPTIONS, stream: true };

/** The methods of an emitter with the types of `'fds'`, an event that a Duplex does not have. */
interface FdsEvents<F extends Form> {
  on(event: 'fds', listener: (fds: Brought<F>) => void): this;
  once(event: 'fds', listener: (fds: Brought<F>) => void): this;
  addListener(event: 'fds', listener: (fds: Brought<F>) => void): this;
  prependListener(event: 'fds', listener: (fds: Brought<F>) => void): this;
  prependOnceListener(event: 'fds', listener: (fds: Brought<F>) => void): this;
  off(event: 'fds', listener: (fds: Brought<F>) => void): this;
  removeListener(event: 'fds', listener: (fds: Brought<F>) => void): this;
}

const DuplexWithFds = Duplex as Omit<typeof Duplex, 'prototype'> &
  (new <F extends Form>(options: DuplexOptions) => FdsEvents<F> & Duplex);

/** The default of the option. */
const HIGH_WATER_MARK = 65_536;

/**
 * A Duplex over an AF_UNIX stream socket that carries bytes with descriptors beside them. It adds nothing to the peer's
 * protocol, so it suits those that have both (D-Bus, Wayland, PipeWire, vhost-user).
 *
 * `'fds'` is emitted with the descriptors that came, in order, and never later than the bytes that they came with. They
 * are the listener's to close. Without a listener they are closed. The descriptors of one `writeWithFds` arrive with
 * its first byte. A slow reader makes the peer wait, and neither bytes nor descriptors are lost.
 *
 * If the peer ends while something waits to be written, a reader first gets what the peer had sent, and then the error.
 */
export class FdStream<F extends Form = 'owned'> extends DuplexWithFds<F> {
  readonly #session: StreamSession;

  /**
   * Takes over a connected AF_UNIX stream socket, which may also be one of the options. Throws what the constructor of
   * `FdPasser` throws, and `ERR_INVALID_ARG_VALUE` for a packet socket. The socket is then still the caller's.
   */
  constructor(fh: FdLike, options?: FdStreamOptions<F>);
  constructor(options: FdStreamOptions<F> & { fh: FdLike });
  constructor(first: FdLike | (FdStreamOptions<F> & { fh: FdLike }), second?: FdStreamOptions<F>) {
    const { name, fh, options } = given<FdLike, FdStreamOptions>(first, second, OPTIONS);
    const { highWaterMark = HIGH_WATER_MARK, fds = 'owned', allowHalfOpen = false, signal } = options;
    if (fds !== 'owned' && fds !== 'number') throw invalidValue('options.fds', "'owned' or 'number'", fds);
    checkSignal(signal);
    super({ highWaterMark, allowHalfOpen });
    const begin = (socket: Custody): StreamSession => new StreamSession(this, socket, fds === 'number');
    this.#session = takeSocket(name, fh!, { types: ['stream'], readsUnread: true }, begin);
    if (signal !== undefined) addAbortSignal(signal, this);
  }

  /** Connects to a listening socket. Rejects with the errors of `connect` and of the constructor. */
  static async connect<F extends Form = 'owned'>(
    path: string,
    options: FdStreamOptions<F> & Omit<ConnectOptions, 'type'> = {},
  ): Promise<FdStream<F>> {
    checkOptions(options, CONNECT);
    const own = pick<FdStreamOptions<F>>(options, OPTIONS);
    return connectWith(path, options, (socket) => new this<F>(socket, own));
  }

  /**
   * Starts a child process that has the other end. The child calls `FdStream.inherit()`, or speaks the protocol at the
   * descriptor that `FDPASSER_FD` names in its environment. The child is started by `child_process.spawn`, or `fork`;
   * if it could not be started, `child` emits `'error'`. Throws what these functions throw, and `EMFILE` if there is no
   * free descriptor.
   */
  static spawn<F extends Form = 'owned'>(
    command: string | URL,
    args: readonly string[] = [],
    options: FdStreamSpawnOptions<F> = {},
  ): { child: ChildProcess; stream: FdStream<F> } {
    const { stream: own } = checkOptions(options, SPAWN);
    const { child, end } = spawnWith(command, args, options, (fd) => new this<F>(fd, own));
    return { child, stream: end };
  }

  /**
   * To be called in a child process. Makes a stream of the socket that the parent gave, which is found as
   * `FdPasser.inherit` finds it. Throws what the constructor throws.
   */
  static inherit<F extends Form = 'owned'>(fd?: number, options: FdStreamOptions<F> = {}): FdStream<F> {
    return inherited(fd, (number) => new this<F>(number, options));
  }

  /**
   * Writes bytes with 1 to 253 descriptors beside them, and returns what `write()` returns. The descriptors are taken
   * over: they are closed when the kernel has them, or if the stream is destroyed before. With `keepOpen` the caller
   * keeps them, and must leave them open until `callback` is called.
   *
   * Throws an argument error for no bytes or too many descriptors, an error of `FdPasser` for a bad descriptor, and
   * `ERR_FDPASSER_CLOSED` if the stream has ended. The descriptors are then still the caller's. If a descriptor becomes
   * bad before its bytes are written, the stream is destroyed.
   */
  writeWithFds(bytes: Uint8Array, fds: readonly FdLike[], callback?: Written): boolean;
  writeWithFds(bytes: Uint8Array, fds: readonly FdLike[], options?: WriteWithFdsOptions, callback?: Written): boolean;
  writeWithFds(
    bytes: Uint8Array,
    fds: readonly FdLike[],
    third: WriteWithFdsOptions | Written = {},
    fourth?: Written,
  ): boolean {
    const [options, callback] = typeof third === 'function' ? [{}, third] : [third, fourth];
    const { keepOpen = false } = checkOptions<WriteWithFdsOptions>(options, WRITE);
    checkBoolean('options.keepOpen', keepOpen);
    if (callback !== undefined && typeof callback !== 'function') throw invalidType('callback', 'a function', callback);
    // A copy, so that the descriptors have their bytes even if the caller's buffer changes.
    const chunk = Buffer.from(viewOf('bytes', bytes));
    if (!Array.isArray(fds)) throw invalidType('fds', 'an array of descriptors', fds);
    if (fds.length > MAX_FDS)
      throw outOfRange('fds.length', `<= ${MAX_FDS}, the most that one message carries`, fds.length);
    if (fds.length > 0 && chunk.length === 0)
      throw invalidValue('bytes', 'at least one byte, for descriptors to go with', bytes);
    const check = (): void => this.#checkWritable();
    check();
    if (fds.length > 0) this.#session.attach(chunk, outgoingAll(fds, keepOpen ? 'keep' : 'return', true, check));
    return this.write(chunk, callback);
  }

  #checkWritable(): void {
    if (!this.writable) throw closed('stream', this.destroyed ? 'it was destroyed' : 'end() was called');
  }

  /** What was carried so far. */
  stats(): WireStats {
    return this.#session.carried;
  }

  /** @internal */
  [INSPECT](_depth: number, options: InspectOptions, inspect: Inspect): string {
    const { destroyed, readableEnded, writableEnded, writableLength, readableLength } = this;
    const ends = readableEnded ? 'peer ended' : writableEnded ? 'ended' : 'open';
    const state = destroyed ? 'closed' : readableEnded && writableEnded ? 'closing' : ends;
    return inspected(this, { state, toWrite: writableLength, toRead: readableLength }, options, inspect);
  }

  override read(size?: number): unknown {
    if (size !== 0) this.#session.announce();
    const chunk: unknown = super.read(size);
    this.#session.wasRead(size !== 0);
    return chunk;
  }

  override setEncoding(encoding: BufferEncoding): this {
    const before = this.readableLength;
    super.setEncoding(encoding);
    this.#session.recounted(this.readableLength - before);
    return this;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: (error?: Error | null) => void): void {
    this.#session.write([chunk], written);
  }

  override _writev(chunks: { chunk: Buffer }[], written: (error?: Error | null) => void): void {
    this.#session.write(
      chunks.map(({ chunk }) => chunk),
      written,
    );
  }

  override _final(finished: (error?: Error | null) => void): void {
    this.#session.endSending();
    finished();
  }

  override _read(): void {
    this.#session.readMore();
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    this.#session.close(error);
    destroyed(error);
  }
}
