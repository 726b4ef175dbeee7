import type { Duplex } from 'node:stream';
import { isGone } from '../common/bytes.js';
import { attempt } from '../common/attempt.js';
import type { Custody } from '../descriptor/custody.js';
import type { Outgoing } from '../descriptor/outgoing.js';
import { ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { closed, detached } from '../errors.js';
import { MAX_FDS } from '../native/addon.js';
import { batch } from '../native/load.js';
import { LinkOwner } from '../wire/link-owner.js';
import { Shipment, type Mark } from '../wire/shipment.js';

const NO_BYTES = Buffer.alloc(0);
/** The most bytes that one receive brings. */
const ROOM = 65_536;
/**
 * Bytes. A receive that brings as many hands on the room itself. A smaller one is copied, so that few bytes do not keep
 * all the room in memory.
 */
const WORTH_KEEPING = ROOM / 2;
/** Bytes. If a peer sends descriptors with fewer bytes than this, one receive takes several messages of this length. */
const SHORT = 8192;

/** All streams of a thread receive into this room, one after the other. */
let room = Buffer.allocUnsafeSlow(ROOM);

/**
 * Memory for chunks that are sent as one, unless a stream of this thread is using it. Making it anew takes longer than
 * filling it.
 */
let spare: Buffer | undefined = Buffer.allocUnsafeSlow(ROOM);

interface Arrived {
  bytes: Buffer;
  fds: OwnedFd[];
}

export type Written = (error?: Error | null) => void;

/** The inside of a stream: the write in progress, and what was received and not handed on yet. */
export class StreamSession extends LinkOwner {
  readonly #stream: Duplex;
  readonly #numbers: boolean;
  /** The write in progress, the callback that ends it, and the memory that is spare again afterwards. */
  #under: { shipment: Shipment; written: Written; memory: Buffer | undefined } | undefined;
  /** The descriptors of chunks that wait in the Duplex's own buffer. */
  #attached: Map<Uint8Array, Outgoing[]> | undefined;

  #reading = false;
  #stride = ROOM;
  /** What was received and not handed on yet. */
  #arrived: Arrived[] = [];
  /** How many descriptors came with bytes that wait to be read. */
  #ahead = 0;
  /** The bytes that the socket's sender had read from it, until somebody reads here. */
  #unread: Buffer | undefined;
  /** How much has come so far, in the unit of `readableLength`: characters if there is an encoding, else bytes. */
  #came = 0;
  /**
   * Descriptors for which there was no listener when they came, and how much had come before them. They wait until more
   * is read.
   */
  #unheard: { at: number; fds: OwnedFd[] }[] = [];
  /** The error that broke the connection. It is kept back until everything received before was read. */
  #fate: Error | undefined;

  /** Takes the socket over, unless it throws. With `numbers`, the listeners of `'fds'` get bare numbers. */
  constructor(stream: Duplex, socket: Custody, numbers: boolean) {
    super(stream);
    this.#stream = stream;
    this.#numbers = numbers;
    this.#unread = socket.unread;
    this.start(socket);
  }

  get what(): string {
    return 'stream';
  }

  // ---- sending

  /** Makes the descriptors go with the first byte of this chunk, when that is written. */
  attach(chunk: Uint8Array, fds: Outgoing[]): void {
    (this.#attached ??= new Map()).set(chunk, fds);
  }

  write(chunks: Buffer[], written: Written): void {
    const marks: Mark[] = [];
    let length = 0;
    for (const chunk of chunks) {
      const fds = this.#attached?.get(chunk);
      if (fds !== undefined) {
        this.#attached!.delete(chunk);
        marks.push({ at: length, fds });
      }
      length += chunk.length;
    }
    // The Duplex counted the bytes when they were written, so a difference shows that a buffer has changed.
    const gone = length !== this.#stream.writableLength || chunks.some(isGone);
    const memory = chunks.length > 1 && length > 0 && length <= ROOM ? spare : undefined;
    if (memory !== undefined) spare = undefined;
    const bytes = gone ? NO_BYTES : chunks.length === 1 ? chunks[0]! : joined(chunks, length, memory);
    this.#under = { shipment: new Shipment(bytes, marks), written, memory };
    if (gone) this.#stream.destroy(detached());
    else if (length > 0) this.link!.send();
    else {
      this.#under = undefined;
      process.nextTick(written);
    }
  }

  endSending(): void {
    this.link!.endSending();
  }

  get bytes(): Uint8Array {
    return this.#under!.shipment.rest;
  }

  unsent(): boolean {
    return this.#under !== undefined;
  }

  fill(): number {
    const shipment = this.#under?.shipment;
    if (shipment?.intact === false)
      this.#stream.destroy(detached()); // the peer has got only a part of it
    else if (shipment !== undefined) return shipment.fill((fds, first) => this.#mayGo(fds, first));
    return 0;
  }

  #mayGo(fds: Outgoing[], first: boolean): boolean {
    if (!fds.every((fd) => fd.ready(this.link!))) return false;
    const refused = fds.find((fd) => fd.refusal !== undefined);
    // The bytes mean something else without their descriptors, so the stream ends.
    if (refused !== undefined && first) this.#stream.destroy(refused.refusal);
    return refused === undefined;
  }

  sent(messages: number, tail: number): void {
    const { shipment, written, memory } = this.#under!;
    for (const fd of shipment.sent(messages, tail)) fd.letGo();
    if (!shipment.done) return;
    this.#under = undefined;
    spare ??= memory;
    written();
  }

  cannotSend(error: Error): boolean {
    if (!this.#hasReader) this.#stream.destroy(error);
    return true;
  }

  // ---- receiving

  /** Called by the Duplex when it wants more than it has buffered. */
  readMore(): void {
    this.#reading = this.#pushUnread();
    this.link!.receive();
  }

  /** Hands on the bytes that the socket's sender had read. Returns whether more is wanted. */
  #pushUnread(): boolean {
    const bytes = this.#unread;
    this.#unread = undefined;
    return bytes === undefined || this.#push(bytes);
  }

  #push(bytes: Buffer): boolean {
    const before = this.#stream.readableLength;
    const flowing = this.#stream.readableFlowing; // asked first, because a listener of 'data' may pause the stream
    const more = this.#stream.push(bytes);
    const passed = flowing && this.#stream.readableLength === 0;
    this.#came += passed ? bytes.length : this.#stream.readableLength - before;
    return more;
  }

  /** Notes that the same unread data now counts for more: its unit has changed. */
  recounted(growth: number): void {
    this.#came += growth;
  }

  get room(): Uint8Array {
    return room;
  }

  get stride(): number {
    return this.#stride;
  }

  wanted(): number {
    return this.awaits() ? ROOM / SHORT : 0;
  }

  /**
   * Stops when many descriptors wait. If nobody reads, a limit on bytes is not enough, because few bytes may bring many
   * descriptors.
   */
  override awaits(): boolean {
    return this.#reading && this.#ahead < MAX_FDS;
  }

  received(messages: number): void {
    let total = 0;
    for (let i = 0; i < messages; i++) total += batch.size[i]!;
    // The reader may transfer the buffer of what it is given, so that buffer must hold nothing else.
    const keep = messages === 1 && total >= WORTH_KEEPING;
    // Everything is taken out before any listener is called, because a listener might use the batch and the room.
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

  /** Called after a `read` of the Duplex. `asked` tells whether that was for bytes. */
  wasRead(asked: boolean): void {
    this.#closeUnheard();
    if (asked && this.#ahead > 0) this.#readOn();
    if (this.#fate !== undefined && this.#stream.readableLength === 0) this.#stream.destroy(this.#fate);
  }

  /** Allows more descriptors again, because somebody has read. */
  #readOn(): void {
    this.#ahead = 0;
    if (this.#reading) this.link!.receive();
  }

  #handOn(): void {
    try {
      for (let next = this.#arrived.shift(); next; next = this.#arrived.shift()) this.#bring(next);
    } finally {
      // Left over if a listener threw: the next tick hands on the rest.
      if (this.#arrived.length > 0) process.nextTick(() => this.#handOn());
    }
  }

  #bring({ bytes, fds }: Arrived): void {
    if (fds.length > 0) this.#unheard.push({ at: this.#came, fds });
    try {
      this.announce();
    } finally {
      if (!this.#push(bytes)) this.#reading = false;
      if (this.#stream.readableLength > 0) this.#ahead += fds.length;
      this.#closeUnheard();
    }
  }

  /** Emits the descriptors that have a listener by now. Called before bytes are handed out. */
  announce(): void {
    while (this.#unheard.length > 0 && this.#stream.listenerCount('fds') > 0) {
      const { fds } = this.#unheard.shift()!;
      this.#stream.emit('fds', this.#numbers ? fds.map((fd) => fd.take()) : fds);
    }
  }

  /** Closes descriptors that had no listener when the bytes beside them were handed out. */
  #closeUnheard(): void {
    while (this.#unheard.length > 0 && this.#unheard[0]!.at < this.#came - this.#stream.readableLength)
      for (const fd of this.#unheard.shift()!.fds) attempt(() => fd.close());
  }

  // ---- the end

  get #hasReader(): boolean {
    return this.#stream.readableFlowing !== null || this.#stream.listenerCount('readable') > 0;
  }

  override peerEnded(): void {
    this.#pushUnread();
    this.#stream.push(null);
    this.#stream.read(0); // emits 'end' if nothing is buffered, even if nobody reads
  }

  /** The link has ended. A reader gets what the peer had sent before, and then the error. */
  ended(error: Error | undefined): void {
    this.#pushUnread();
    if (error === undefined || this.#stream.readableLength === 0 || !this.#hasReader) {
      this.#stream.destroy(error);
      return;
    }
    this.#fate = error;
    this.#stream.push(null); // wakes a reader that waits for more
  }

  /** Closes the socket, and all descriptors that were not handed on. `error` is for the write in progress. */
  close(error: Error | null): void {
    this.link!.destroy(error ?? undefined);
    for (const fd of this.#under?.shipment.unsent ?? []) fd.letGo();
    for (const fds of this.#attached?.values() ?? []) for (const fd of fds) fd.letGo();
    this.#attached = undefined;
    for (const { fds } of [...this.#arrived.splice(0), ...this.#unheard.splice(0)])
      for (const fd of fds) attempt(() => fd.close());
    // Node calls the callbacks of the writes that wait behind this one, but not its own.
    if (this.#under !== undefined) process.nextTick(this.#under.written, error ?? closed('stream', 'it was destroyed'));
    spare ??= this.#under?.memory;
    this.#under = undefined;
  }
}

/** The chunks as one, in this memory or in new memory. */
function joined(chunks: Buffer[], length: number, memory: Buffer = Buffer.allocUnsafe(length)): Buffer {
  let at = 0;
  for (const chunk of chunks) at += chunk.copy(memory, at);
  return memory.subarray(0, length);
}
