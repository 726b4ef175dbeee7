import type { ChildProcess } from 'node:child_process';
import { addAbortSignal, Duplex } from 'node:stream';
import { checkSignal } from '../common/abort.js';
import { isGone, viewOf } from '../common/bytes.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { BareOutgoing, outgoingAll, type Outgoing } from '../descriptor/outgoing.js';
import { ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { connectWith, type ConnectOptions } from '../endpoint/connect.js';
import { attempt } from '../common/attempt.js';
import { inherited, spawnWith, type SpawnOptions } from '../endpoint/spawn.js';
import { checkBoolean, checkOptions, invalidType, invalidValue, outOfRange } from '../common/arguments.js';
import { checked, closed, detached } from '../errors.js';
import { checkSocket, Link, type LinkOwner } from '../wire/link.js';
import { Shipment, type Mark } from '../wire/shipment.js';
import { MAX_FDS } from '../native/addon.js';
import { addon, batch } from '../native/load.js';

export interface FdStreamOptions {
  /** Bytes that may wait on either side before `write` returns false, and before reading pauses. Default 65536. */
  highWaterMark?: number;
  /** Whether `'fds'` brings OwnedFds, or bare numbers for protocols written for them. Default `'owned'`. */
  fds?: 'owned' | 'number';
  /** Go on writing after the peer has ended. Default false: then this end ends too, as with `net.Socket`. */
  allowHalfOpen?: boolean;
  /** Destroys the stream when aborted. */
  signal?: AbortSignal;
}

export interface FdStreamSpawnOptions extends SpawnOptions {
  /** Of the stream here. */
  stream?: FdStreamOptions;
}

const NO_BYTES = Buffer.alloc(0);
/** Bytes that one receive can bring. */
const ROOM = 65_536;
/** Of a larger receive the room itself is handed on; a smaller one is copied, so that it does not keep all the room. */
const WORTH_KEEPING = ROOM / 2;
/** Where a peer sends descriptors with fewer bytes than these, one receive brings several messages of so many. */
const SHORT = 8192;

/** All streams of a thread receive here, one after the other. */
let room = Buffer.allocUnsafeSlow(ROOM);

interface Arrived {
  bytes: Buffer;
  fds: OwnedFd[];
}

/**
 * Bytes with descriptors beside them, for the protocols that have both (D-Bus, Wayland, PipeWire, vhost-user): a Duplex
 * over an AF_UNIX stream socket that leaves the peer's protocol as it is.
 *
 * `'fds'` is emitted with the descriptors that came along, in order, never later than the bytes they travelled with. They
 * are the listener's to close; without a listener they are closed. The descriptors of one `writeWithFds` arrive with its
 * first byte. A slow reader stops the peer, and nothing is lost: neither bytes nor descriptors.
 *
 * When the peer goes while something waits to be written, whoever reads gets what it had sent first and the error then.
 */
export class FdStream extends Duplex {
  readonly #link: Link;
  readonly #numbers: boolean;
  #reading = false;
  #stride = ROOM;
  /** Received, and not yet handed on. */
  #arrived: Arrived[] = [];
  /** How many descriptors came beside bytes that wait to be read. */
  #ahead = 0;
  /** What the sender of the socket had read of it, until somebody reads here. */
  #unread: Buffer | undefined;
  /** How much came so far, as `readableLength` counts it: in characters where there is an encoding. */
  #came = 0;
  /** Descriptors that nobody listened for when they came, and how much had come before: they wait until more is read. */
  #unheard: { at: number; fds: OwnedFd[] }[] = [];
  /** What is on its way, and who is to be told. */
  #under: { shipment: Shipment; written: (error?: Error | null) => void } | undefined;
  /** Descriptors of chunks that wait in the Duplex's own buffer. */
  readonly #attached = new Map<Uint8Array, Outgoing[]>();
  /** What broke the connection, kept until what was received before has been read. */
  #fate: Error | undefined;

  /**
   * Takes over a connected AF_UNIX stream socket. Throws, taking nothing over, as `FdPasser` does, and `ERR_INVALID_ARG_VALUE`
   * for a packet socket.
   */
  constructor(fh: FdLike, options: FdStreamOptions = {}) {
    const { highWaterMark = ROOM, fds = 'owned', allowHalfOpen = false, signal } = checkOptions(options);
    if (fds !== 'owned' && fds !== 'number') throw invalidValue('options.fds', "'owned' or 'number'", fds);
    checkSignal(signal);
    super({ highWaterMark, allowHalfOpen });
    this.#numbers = fds === 'number';
    const socket = new Custody('fh', fh);
    try {
      if (checkSocket(socket.fd) !== 'stream') throw invalidValue('fh', 'a stream socket', fh);
      checked(addon.closeOnExec(socket.fd), 'fcntl');
      checked(addon.setNonblocking(socket.fd), 'fcntl');
      this.#link = new Link(socket, this.#owner());
    } catch (error) {
      socket.giveBack();
      throw error;
    }
    this.#unread = socket.unread;
    if (signal !== undefined) addAbortSignal(signal, this);
  }

  /** Connects to a listening socket, as `connect` does, which see for the errors. */
  static async connect(path: string, options: FdStreamOptions & Omit<ConnectOptions, 'type'> = {}): Promise<FdStream> {
    const { timeout, signal, ...stream } = options;
    const asked = { ...(timeout === undefined ? {} : { timeout }), ...(signal === undefined ? {} : { signal }) };
    return connectWith(
      path,
      asked,
      (socket) => new this(socket, signal === undefined ? stream : { ...stream, signal }),
    );
  }

  /**
   * Starts a child process that has the other end: it calls `FdStream.inherit()`, or speaks the protocol at the descriptor
   * that `FDPASSER_FD` names in its environment. `child_process.spawn` starts it, or `fork`, and an `'error'` of `child` tells that
   * it could not. Throws as they do, and `EMFILE` for want of descriptors.
   */
  static spawn(
    command: string | URL,
    args: readonly string[] = [],
    options: FdStreamSpawnOptions = {},
  ): { child: ChildProcess; stream: FdStream } {
    const { stream: own, ...rest } = checkOptions(options);
    const { child, end } = spawnWith(command, args, rest, (fd) => new this(fd, own));
    return { child, stream: end };
  }

  /** In a child process: the stream over the socket that its parent gave, as `FdChannel.inherit` finds it. */
  static inherit(fd?: number, options: FdStreamOptions = {}): FdStream {
    return inherited(fd, (number) => new this(number, options));
  }

  /**
   * Writes bytes with descriptors beside them, 1 to 253, and returns like `write()`. The descriptors are taken over: closed
   * once the kernel has them, or when the stream is destroyed before. With `keepOpen` they stay the caller's, who leaves
   * them open until `callback` is called.
   *
   * Throws, taking nothing over, for no bytes, too many descriptors or a bad one (as `FdPasser` does), and
   * `ERR_FDPASSER_CLOSED` once the stream has ended. One that turns bad before its bytes are written destroys the stream.
   */
  writeWithFds(
    bytes: Uint8Array,
    fds: readonly FdLike[],
    options: { keepOpen?: boolean } = {},
    callback?: (error?: Error | null) => void,
  ): boolean {
    const { keepOpen = false } = checkOptions(options);
    checkBoolean('options.keepOpen', keepOpen);
    // A copy: its descriptors must not lose their bytes, whatever becomes of the caller's buffer.
    const chunk = Buffer.from(viewOf('bytes', bytes));
    if (!Array.isArray(fds)) throw invalidType('fds', 'an array of descriptors', fds);
    if (fds.length > MAX_FDS)
      throw outOfRange('fds.length', `<= ${MAX_FDS}, the most that one message carries`, fds.length);
    if (fds.length > 0 && chunk.length === 0)
      throw invalidValue('bytes', 'at least one byte, for descriptors to go with', bytes);
    const check = (): void => this.#checkWritable();
    check();
    if (fds.length > 0) this.#attached.set(chunk, outgoingAll(fds, keepOpen ? 'keep' : 'return', BareOutgoing, check));
    return this.write(chunk, callback);
  }

  #checkWritable(): void {
    if (!this.writable) throw closed('stream', this.destroyed ? 'it was destroyed' : 'end() was called');
  }

  override read(size?: number): unknown {
    if (size !== 0) this.#announce();
    const chunk: unknown = super.read(size);
    this.#closeUnheard();
    if (size !== 0 && this.#ahead > 0) this.#readOn();
    if (this.#fate !== undefined && this.readableLength === 0) this.destroy(this.#fate);
    return chunk;
  }

  /** What waits to be read is counted in characters from now on. */
  override setEncoding(encoding: BufferEncoding): this {
    const before = this.readableLength;
    super.setEncoding(encoding);
    this.#came += this.readableLength - before;
    return this;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: (error?: Error | null) => void): void {
    const fds = this.#take(chunk);
    this.#ship([chunk], chunk.length, fds === undefined ? [] : [{ at: 0, fds }], written);
  }

  override _writev(chunks: { chunk: Buffer }[], written: (error?: Error | null) => void): void {
    const marks: Mark[] = [];
    let at = 0;
    for (const { chunk } of chunks) {
      const fds = this.#take(chunk);
      if (fds !== undefined) marks.push({ at, fds });
      at += chunk.length;
    }
    this.#ship(
      chunks.map(({ chunk }) => chunk),
      at,
      marks,
      written,
    );
  }

  override _final(finished: (error?: Error | null) => void): void {
    this.#link.endSending();
    finished();
  }

  override _read(): void {
    this.#reading = this.#pushUnread();
    this.#link.receive();
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    this.#link.destroy();
    for (const fd of this.#under?.shipment.unsent ?? []) fd.letGo();
    for (const fds of this.#attached.values()) for (const fd of fds) fd.letGo();
    this.#attached.clear();
    for (const { fds } of [...this.#arrived.splice(0), ...this.#unheard.splice(0)])
      for (const fd of fds) attempt(() => fd.close());
    // Node calls back the writes that wait behind it, but not the one under way.
    if (this.#under !== undefined) process.nextTick(this.#under.written, error ?? closed('stream', 'it was destroyed'));
    this.#under = undefined;
    destroyed(error);
  }

  #take(chunk: Buffer): Outgoing[] | undefined {
    const fds = this.#attached.get(chunk);
    if (fds !== undefined) this.#attached.delete(chunk);
    return fds;
  }

  #ship(chunks: Buffer[], length: number, marks: Mark[], written: (error?: Error | null) => void): void {
    // The Duplex counted them as they were written.
    const gone = length !== this.writableLength || chunks.some(isGone);
    const bytes = gone ? NO_BYTES : chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length);
    this.#under = { shipment: new Shipment(bytes, marks), written };
    if (gone) this.destroy(detached());
    else if (length > 0) this.#link.send();
    else {
      this.#under = undefined;
      process.nextTick(written);
    }
  }

  #fill(): number {
    const shipment = this.#under?.shipment;
    if (shipment?.intact === false)
      this.destroy(detached()); // the peer has only a part of it
    else if (shipment !== undefined) return shipment.fill((fds, first) => this.#mayGo(fds, first));
    return 0;
  }

  #mayGo(fds: Outgoing[], first: boolean): boolean {
    if (!fds.every((fd) => fd.ready(this.#link))) return false;
    const refused = fds.find((fd) => fd.refusal !== undefined);
    // Bytes without their descriptors would mean something else, so the stream ends.
    if (refused !== undefined && first) this.destroy(refused.refusal);
    return refused === undefined;
  }

  #sent(messages: number, tail: number): void {
    const { shipment, written } = this.#under!;
    for (const fd of shipment.sent(messages, tail)) fd.letGo();
    if (!shipment.done) return;
    this.#under = undefined;
    written();
  }

  /** Returns whether more is wanted. */
  #pushUnread(): boolean {
    const bytes = this.#unread;
    this.#unread = undefined;
    return bytes === undefined || this.#push(bytes);
  }

  #push(bytes: Buffer): boolean {
    const before = this.readableLength;
    const more = this.push(bytes);
    const passed = this.readableFlowing && this.readableLength === 0;
    this.#came += passed ? bytes.length : this.readableLength - before;
    return more;
  }

  /** Bytes alone do not bound the descriptors of one who does not read: each may bring many. */
  get #asks(): boolean {
    return this.#reading && this.#ahead < MAX_FDS;
  }

  /** Somebody reads, who may have more descriptors, too. */
  #readOn(): void {
    this.#ahead = 0;
    if (this.#reading) this.#link.receive();
  }

  get #hasReader(): boolean {
    return this.readableFlowing !== null || this.listenerCount('readable') > 0;
  }

  /** The link is over. Whoever reads gets what the peer had sent before, and the error after that. */
  #ended(error: Error | undefined): void {
    this.#pushUnread();
    if (error === undefined || this.readableLength === 0 || !this.#hasReader) {
      this.destroy(error);
      return;
    }
    this.#fate = error;
    this.push(null); // wakes a reader that waits for more
  }

  #received(messages: number): void {
    let total = 0;
    for (let i = 0; i < messages; i++) total += batch.size[i]!;
    // Whoever reads may transfer the buffer of what it was given, so that must hold nothing else.
    const keep = messages === 1 && total >= WORTH_KEEPING;
    // All is taken out before anyone hears of it, who might use the batch and the room.
    for (let i = 0, next = 0; i < messages; i++) {
      const bytes = room.subarray(i * this.#stride, i * this.#stride + batch.size[i]!);
      const fds: OwnedFd[] = [];
      for (let left = batch.count[i]!; left > 0; left--) fds.push(ownReceived(batch.fd[next++]!));
      this.#arrived.push({ bytes: keep ? bytes : Buffer.from(bytes), fds });
    }
    if (keep) room = Buffer.allocUnsafeSlow(ROOM);
    const last = messages - 1;
    this.#stride = batch.count[last]! > 0 && batch.size[last]! < SHORT ? SHORT : ROOM;
    this.#handOn();
  }

  #handOn(): void {
    try {
      for (let next = this.#arrived.shift(); next; next = this.#arrived.shift()) this.#bring(next);
    } finally {
      // A listener threw: what comes after that comes all the same.
      if (this.#arrived.length > 0) process.nextTick(() => this.#handOn());
    }
  }

  #bring({ bytes, fds }: Arrived): void {
    if (fds.length > 0) this.#unheard.push({ at: this.#came, fds });
    try {
      this.#announce();
    } finally {
      if (!this.#push(bytes)) this.#reading = false;
      if (this.readableLength > 0) this.#ahead += fds.length;
      this.#closeUnheard();
    }
  }

  #announce(): void {
    while (this.#unheard.length > 0 && this.listenerCount('fds') > 0) {
      const { fds } = this.#unheard.shift()!;
      this.emit('fds', this.#numbers ? fds.map((fd) => fd.take()) : fds);
    }
  }

  /** Closes what nobody listens for though the bytes beside it were handed out. */
  #closeUnheard(): void {
    while (this.#unheard.length > 0 && this.#unheard[0]!.at < this.#came - this.readableLength)
      for (const fd of this.#unheard.shift()!.fds) attempt(() => fd.close());
  }

  /** What the link sees of the stream. */
  #owner(): LinkOwner {
    // oxlint-disable-next-line typescript/no-this-alias -- for the getters
    const stream = this;
    return {
      what: 'stream',
      get bytes() {
        return stream.#under!.shipment.rest;
      },
      unsent: () => this.#under !== undefined,
      fill: () => this.#fill(),
      sent: (messages, tail) => this.#sent(messages, tail),
      refused: () => false,
      cannotSend: (error) => {
        if (!this.#hasReader) this.destroy(error);
        return true;
      },
      get room() {
        return room;
      },
      get stride() {
        return stream.#stride;
      },
      wanted: () => (this.#asks ? ROOM / SHORT : 0),
      awaits: () => this.#asks,
      received: (messages) => this.#received(messages),
      exhausted: (unheard) =>
        process.nextTick(() => {
          if (!this.emit('exhausted')) unheard();
        }),
      resumed: () => process.nextTick(() => this.emit('resumed')),
      peerEnded: () => {
        this.#pushUnread();
        this.push(null);
        this.read(0); // emits 'end' when nothing is buffered, though nobody reads
      },
      mayStillSend: () => true,
      ended: (error) => this.#ended(error),
    };
  }
}
