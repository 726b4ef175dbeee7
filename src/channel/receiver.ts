import { OwnedFd, ownReceived } from '../descriptor/owned-fd.js';
import { ownership } from '../descriptor/ownership.js';
import { unreadable, type FdPasserError } from '../errors.js';
import { addon, batch } from '../native/load.js';
import type { Coder } from './codec.js';
import type { Departing } from './departing.js';
import { FrameReader, FramingError, type Body, type Incoming } from './frame-reader.js';
import { FRAME_BYTES, FRAME_FDS, HEADER_BYTES, type Hello } from './frames.js';
import { Message } from './message.js';
import type { Question } from './question.js';
import type { Weight } from './taken.js';

/** A message received. */
export interface Arrived<T> extends Weight {
  message: Message<T>;
  /** The messages right behind it, if they could not be read: they count as taken when it is. */
  unreadable: Weight[];
}

/** Who is told of what came. */
export interface Listener<T> {
  /** The peer's first word. */
  greeted(hello: Hello): void;
  /** The application there has taken so many messages in all. */
  told(count: number): void;
  /** The application there takes no message any more. */
  closes(): void;
  /** The peer waits to hear that the first so many messages are taken. */
  awaitsTaken(count: number): void;
  arrived(message: Arrived<T>): void;
  /** One was passed over. It counts as taken at once, or with the message before it. */
  passedOver(error: FdPasserError, taken: Weight | undefined): void;
  /** The peer sent a request of this number. */
  requested(number: number): Question;
  /**
   * The request of this number has an answer. Returns it if somebody waits for that still; throws when there is none.
   */
  answered(number: number): Departing | undefined;
  /** A reply, or why it cannot be read. */
  replied(request: Departing, reply: Message | Error): void;
  /** It has no reply. */
  declined(request: Departing): void;
}

/** What one receive takes, unless a frame needs more: a peer can put very many messages into a few bytes. */
const SHORT = 8192;
/**
 * Room for one frame, or what else one receive brings. Whatever lasts is copied, so all channels of a thread share it.
 */
export const ROOM = Buffer.allocUnsafeSlow(HEADER_BYTES + FRAME_BYTES);

/** The receiving half of a channel: puts messages together, and holds the peer to its window. */
export class Receiver<T> {
  readonly #limits: Hello;
  readonly #coder: Coder;
  readonly #packets: boolean;
  readonly #listener: Listener<T>;
  readonly #reader: FrameReader;
  /** How many bytes one receive takes. */
  stride: number;
  /** Received, and not claimed by a message yet. */
  readonly #fds: number[] = [];
  /** Messages but replies since the beginning, modulo 2^32: those that the peer hears of when they are taken. */
  #countable = 0;
  /** Messages that wait here for someone, on the peer's account. */
  #waiting = 0;
  #waitingBytes = 0;
  #waitingFds = 0;
  #closed = false;
  /** The last message of those that wait. */
  #last: Arrived<T> | undefined;

  /** Messages that came whole, since the beginning. */
  received = 0;

  constructor(limits: Hello, coder: Coder, packets: boolean, listener: Listener<T>) {
    this.#limits = limits;
    this.#coder = coder;
    this.#packets = packets;
    this.#listener = listener;
    this.#reader = new FrameReader(limits);
    this.stride = packets ? ROOM.length : SHORT;
  }

  /** Whether messages wait for somebody to take them. */
  get holds(): boolean {
    return this.#waiting > 0;
  }

  /** Whether what came so far ends in the middle of something. */
  get unfinished(): boolean {
    return this.#reader.unfinished;
  }

  /**
   * The batch and the room hold so many of the kernel's messages. Throws at the first thing wrong, after what was
   * right.
   */
  read(messages: number): void {
    for (let i = 0, next = 0; i < messages; i++) {
      const end = next + batch.count[i]!;
      while (next < end) this.#fds.push(batch.fd[next++]!);
    }
    const found: Incoming[] = [];
    try {
      this.#reader.push(ROOM.subarray(0, batch.size[0]), found);
    } finally {
      for (const incoming of found) if (!this.#closed) this.#take(incoming);
    }
    if (this.#closed) return;
    if (!this.#packets) this.stride = Math.min(Math.max(this.#reader.missing, SHORT), ROOM.length);
    const { size, fds, isReply } = this.#reader.pending;
    if (size > 0 && !isReply) this.#checkWindow(size, fds);
    const unclaimed = this.#fds.length - fds;
    if (unclaimed > FRAME_FDS) throw new FramingError(`it sent ${unclaimed} descriptors with no message`);
  }

  #take(incoming: Incoming): void {
    switch (incoming.type) {
      case 'hello':
        this.#listener.greeted(incoming.hello);
        return;
      case 'taken':
        this.#listener.told(incoming.count);
        return;
      case 'closing':
        this.#listener.closes();
        return;
      case 'confirm':
        this.#listener.awaitsTaken(this.#countable);
        return;
      case 'message':
        this.#arrived(incoming.body);
        return;
      case 'request':
        this.#arrived(incoming.body, incoming.number);
        return;
      case 'reply':
        this.#replied(incoming.number, incoming.body);
        return;
      case 'declined': {
        const request = this.#listener.answered(incoming.number);
        if (request !== undefined) this.#listener.declined(request);
      }
    }
  }

  #arrived(body: Body, request?: number): void {
    const { size, fds } = body;
    this.#checkClaim(body);
    this.#checkWindow(size, fds);
    this.#countable = (this.#countable + 1) >>> 0;
    this.#waiting++;
    this.#waitingBytes += size;
    this.#waitingFds += fds;
    const read = this.#read(body);
    const question = request === undefined ? undefined : this.#listener.requested(request);
    if (read instanceof Error) {
      question?.drop();
      this.#passOver({ size, fds }, read);
      return;
    }
    this.#last = { message: new Message(read.value as T, read.fds, question), size, fds, unreadable: [] };
    this.#listener.arrived(this.#last);
  }

  /** A reply waits for nobody, so it counts against no window. */
  #replied(number: number, body: Body): void {
    this.#checkClaim(body);
    const request = this.#listener.answered(number);
    if (request === undefined) {
      OwnedFd.closeAll(this.#claim(body));
      return;
    }
    const read = this.#read(body);
    this.#listener.replied(request, read instanceof Error ? read : new Message(read.value, read.fds));
  }

  #checkClaim({ fds }: Body): void {
    if (this.#fds.length < fds) throw new FramingError(`a message of ${fds} descriptors came with ${this.#fds.length}`);
  }

  #claim({ fds }: Body): OwnedFd[] {
    this.received++;
    return this.#fds.splice(0, fds).map(ownReceived);
  }

  /** Its value and descriptors; or, its descriptors closed, why the codec cannot read it. */
  #read(body: Body): { value: unknown; fds: OwnedFd[] } | FdPasserError {
    const fds = this.#claim(body);
    try {
      const value = this.#coder.decode(body.value, body.own);
      for (const { index, bytes } of body.unread) ownership.setUnread(fds[index]!, bytes);
      return { value, fds };
    } catch (error) {
      OwnedFd.closeAll(fds);
      return unreadable(this.#coder.name, error as Error);
    }
  }

  /** The frames around it are sound, so it concerns this message alone. */
  #passOver(weight: Weight, error: FdPasserError): void {
    const first = this.#last === undefined;
    if (first) this.#leaves(weight);
    else this.#last!.unreadable.push(weight);
    this.#listener.passedOver(error, first ? weight : undefined);
  }

  /** Somebody takes this one, and those that count as taken with it. */
  taken(arrived: Arrived<T>): void {
    if (this.#last === arrived) this.#last = undefined;
    this.#leaves(arrived);
    for (const weight of arrived.unreadable) this.#leaves(weight);
  }

  #leaves({ size, fds }: Weight): void {
    this.#waiting--;
    this.#waitingBytes -= size;
    this.#waitingFds -= fds;
  }

  /** Of a message, or the part of one that is here. */
  #checkWindow(size: number, fds: number): void {
    const { window, maxFds } = this.#limits;
    if (this.#waiting > 0 && (this.#waitingBytes + size > window || this.#waitingFds + fds > maxFds))
      throw new FramingError('it sent more than the window allows');
  }

  /** Closes what no message has claimed. What else came in the same receive comes too late. */
  close(): void {
    this.#closed = true;
    for (const fd of this.#fds.splice(0)) addon.close(fd);
  }
}
