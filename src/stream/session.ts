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

export type Written = (error?: Error | null) => void;

/** What a stream has inside: the write that is under way, and what came and was not handed on. */
export class StreamSession extends LinkOwner {
  readonly #stream: Duplex;
  readonly #numbers: boolean;
  /** What is on its way, and who is to be told. */
  #under: { shipment: Shipment; written: Written } | undefined;
  /** Descriptors of chunks that wait in the Duplex's own buffer. */
  #attached: Map<Uint8Array, Outgoing[]> | undefined;

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
  /**
   * Descriptors that nobody listened for when they came, and how much had come before: they wait until more is read.
   */
  #unheard: { at: number; fds: OwnedFd[] }[] = [];
  /** What broke the connection, kept until what was received before has been read. */
  #fate: Error | undefined;

  /** Takes the socket over, unless it throws. With `numbers`, the `'fds'` listeners get bare numbers. */
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

  /** The descriptors go with the first byte of this chunk, when it is written. */
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
    // The Duplex counted them as they were written.
    const gone = length !== this.#stream.writableLength || chunks.some(isGone);
    const bytes = gone ? NO_BYTES : chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length);
    this.#under = { shipment: new Shipment(bytes, marks), written };
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
      this.#stream.destroy(detached()); // the peer has only a part of it
    else if (shipment !== undefined) return shipment.fill((fds, first) => this.#mayGo(fds, first));
    return 0;
  }

  #mayGo(fds: Outgoing[], first: boolean): boolean {
    if (!fds.every((fd) => fd.ready(this.link!))) return false;
    const refused = fds.find((fd) => fd.refusal !== undefined);
    // Bytes without their descriptors would mean something else, so the stream ends.
    if (refused !== undefined && first) this.#stream.destroy(refused.refusal);
    return refused === undefined;
  }

  sent(messages: number, tail: number): void {
    const { shipment, written } = this.#under!;
    for (const fd of shipment.sent(messages, tail)) fd.letGo();
    if (!shipment.done) return;
    this.#under = undefined;
    written();
  }

  cannotSend(error: Error): boolean {
    if (!this.#hasReader) this.#stream.destroy(error);
    return true;
  }

  // ---- receiving

  /** More is wanted than waits in the Duplex. */
  readMore(): void {
    this.#reading = this.#pushUnread();
    this.link!.receive();
  }

  /** Returns whether more is wanted. */
  #pushUnread(): boolean {
    const bytes = this.#unread;
    this.#unread = undefined;
    return bytes === undefined || this.#push(bytes);
  }

  #push(bytes: Buffer): boolean {
    const before = this.#stream.readableLength;
    const more = this.#stream.push(bytes);
    const passed = this.#stream.readableFlowing && this.#stream.readableLength === 0;
    this.#came += passed ? bytes.length : this.#stream.readableLength - before;
    return more;
  }

  /** What waits to be read is counted otherwise from now on: it grew by so much. */
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

  /** Bytes alone do not bound the descriptors of one who does not read: each may bring many. */
  override awaits(): boolean {
    return this.#reading && this.#ahead < MAX_FDS;
  }

  received(messages: number): void {
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

  /** A `read` of the Duplex returned; `asked` tells whether it was for bytes. */
  wasRead(asked: boolean): void {
    this.#closeUnheard();
    if (asked && this.#ahead > 0) this.#readOn();
    if (this.#fate !== undefined && this.#stream.readableLength === 0) this.#stream.destroy(this.#fate);
  }

  /** Whoever reads may have more descriptors, too. */
  #readOn(): void {
    this.#ahead = 0;
    if (this.#reading) this.link!.receive();
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
      this.announce();
    } finally {
      if (!this.#push(bytes)) this.#reading = false;
      if (this.#stream.readableLength > 0) this.#ahead += fds.length;
      this.#closeUnheard();
    }
  }

  /** Before bytes are handed out, those hear of their descriptors who listen by now. */
  announce(): void {
    while (this.#unheard.length > 0 && this.#stream.listenerCount('fds') > 0) {
      const { fds } = this.#unheard.shift()!;
      this.#stream.emit('fds', this.#numbers ? fds.map((fd) => fd.take()) : fds);
    }
  }

  /** Closes what nobody listens for though the bytes beside it were handed out. */
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
    this.#stream.read(0); // emits 'end' when nothing is buffered, though nobody reads
  }

  /** The link is over. Whoever reads gets what the peer had sent before, and the error after that. */
  ended(error: Error | undefined): void {
    this.#pushUnread();
    if (error === undefined || this.#stream.readableLength === 0 || !this.#hasReader) {
      this.#stream.destroy(error);
      return;
    }
    this.#fate = error;
    this.#stream.push(null); // wakes a reader that waits for more
  }

  /** Closes the socket, and all descriptors that nobody has yet. `error` is for the write under way. */
  close(error: Error | null): void {
    this.link!.destroy(error ?? undefined);
    for (const fd of this.#under?.shipment.unsent ?? []) fd.letGo();
    for (const fds of this.#attached?.values() ?? []) for (const fd of fds) fd.letGo();
    this.#attached = undefined;
    for (const { fds } of [...this.#arrived.splice(0), ...this.#unheard.splice(0)])
      for (const fd of fds) attempt(() => fd.close());
    // Node calls back the writes that wait behind it, but not the one under way.
    if (this.#under !== undefined) process.nextTick(this.#under.written, error ?? closed('stream', 'it was destroyed'));
    this.#under = undefined;
  }
}
