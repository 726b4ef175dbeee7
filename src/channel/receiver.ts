import { watchForGarbage } from '../descriptor/garbage.js';
import { OwnedFd, ownHeld } from '../descriptor/owned-fd.js';
import { ownership } from '../descriptor/ownership.js';
import { unreadable, type FdPasserError } from '../errors.js';
import { addon, batch } from '../native/load.js';
import type { Coder } from './codec.js';
import type { Departing } from './departing.js';
import { FrameReader, FramingError, type Body, type Incoming } from './frame-reader.js';
import { FRAME_BYTES, FRAME_FDS, HEADER_BYTES, SHORT, type Hello } from './frames.js';
import { Message } from './message.js';
import type { Question } from './question.js';
import type { Weight } from './taken.js';

/** A received message. */
export interface Arrived<T> extends Weight {
  message: Message<T>;
  /** Messages that came right after it and could not be read. They count as taken when it is taken. */
  unreadable: Weight[];
}

/** What is told of everything that comes. */
export interface Listener<T> {
  /** The peer's hello has come. */
  greeted(hello: Hello): void;
  /** The peer's application has taken this many messages in all. */
  told(count: number): void;
  /** The peer's application will take no more messages. */
  closes(): void;
  /** The peer waits to be told that the first `count` messages are taken. */
  awaitsTaken(count: number): void;
  arrived(message: Arrived<T>): void;
  /** A message could not be read. It counts as taken at once (then `taken` is given), or with the message before it. */
  passedOver(error: FdPasserError, taken: Weight | undefined): void;
  /** The peer has sent a request with this number. */
  requested(number: number): Question;
  /**
   * The request with this number has an answer. Returns the request if somebody still waits for it. Throws if there is
   * no such request.
   */
  answered(number: number): Departing | undefined;
  /** A reply has come, or cannot be read for this reason. */
  replied(request: Departing, reply: Message | Error): void;
  /** The peer has declined the request. */
  declined(request: Departing): void;
}

/**
 * Room for one frame, or for whatever else one receive brings. What must last is copied, so all channels of a thread
 * share it.
 */
export const ROOM = Buffer.allocUnsafeSlow(HEADER_BYTES + FRAME_BYTES);

const NONE: number[] = [];
/** So many numbers that were claimed are cut off. */
const WORTH_CUTTING = 1024;

/** The receiving half of a channel. It puts messages together, and checks that the peer keeps to its window. */
export class Receiver<T> {
  readonly #limits: Hello;
  readonly #coder: Coder;
  readonly #packets: boolean;
  readonly #listener: Listener<T>;
  readonly #reader: FrameReader;
  /** The most bytes of one receive. */
  stride: number;
  /** Descriptors that were received, but belong to no complete message yet. */
  #fds: number[] = NONE;
  /** How many of these were claimed by messages already. */
  #claimed = 0;
  /**
   * How many messages came since the beginning, modulo 2^32, without replies: the ones that the peer is told of when
   * they are taken.
   */
  #countable = 0;
  /**
   * Messages that wait for somebody to take them, with their bytes and descriptors: they count against the peer's
   * window.
   */
  #waiting = 0;
  #waitingBytes = 0;
  #waitingFds = 0;
  #closed = false;
  /** The last one of the messages that wait. */
  #last: Arrived<T> | undefined;

  /** How many complete messages came since the beginning. */
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

  /** Whether what came so far ends in the middle of a frame or message. */
  get unfinished(): boolean {
    return this.#reader.unfinished;
  }

  /**
   * Reads what the batch and the room hold of so many messages of the kernel. Throws at the first mistake, after
   * handling what came before it.
   */
  read(messages: number): void {
    for (let i = 0, next = 0; i < messages; i++) {
      const end = next + batch.count[i]!;
      if (next < end && this.#fds === NONE) this.#fds = [];
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
    const unclaimed = this.#unclaimed() - fds;
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

  /** A reply is taken at once, so it does not count against a window. */
  #replied(number: number, body: Body): void {
    this.#checkClaim(body);
    const request = this.#listener.answered(number);
    if (request === undefined) {
      OwnedFd.closeAll(this.#claim(body));
      return;
    }
    const read = this.#read(body);
    if (!(read instanceof Error)) for (const fd of read.fds) watchForGarbage(fd);
    this.#listener.replied(request, read instanceof Error ? read : new Message(read.value, read.fds));
  }

  #checkClaim({ fds }: Body): void {
    const unclaimed = this.#unclaimed();
    if (unclaimed < fds) throw new FramingError(`a message of ${fds} descriptors came with ${unclaimed}`);
  }

  #unclaimed(): number {
    return this.#fds.length - this.#claimed;
  }

  #claim({ fds }: Body): OwnedFd[] {
    this.received++;
    const claimed: OwnedFd[] = [];
    while (claimed.length < fds) claimed.push(ownHeld(this.#fds[this.#claimed++]!));
    if (this.#unclaimed() === 0 || this.#claimed >= WORTH_CUTTING) {
      this.#fds = this.#unclaimed() === 0 ? NONE : this.#fds.slice(this.#claimed);
      this.#claimed = 0;
    }
    return claimed;
  }

  /**
   * Returns the value and descriptors. If the codec cannot read the value, closes the descriptors and returns the
   * error.
   */
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

  /** Passes over a message that cannot be read. The frames around it are valid, so the others are not affected. */
  #passOver(weight: Weight, error: FdPasserError): void {
    const first = this.#last === undefined;
    if (first) this.#leaves(weight);
    else this.#last!.unreadable.push(weight);
    this.#listener.passedOver(error, first ? weight : undefined);
  }

  /** Notes that somebody has taken this message, and with it those that count as taken with it. */
  taken(arrived: Arrived<T>): void {
    if (this.#last === arrived) this.#last = undefined;
    for (const fd of arrived.message.fds) watchForGarbage(fd);
    this.#leaves(arrived);
    for (const weight of arrived.unreadable) this.#leaves(weight);
  }

  #leaves({ size, fds }: Weight): void {
    this.#waiting--;
    this.#waitingBytes -= size;
    this.#waitingFds -= fds;
  }

  /** Checks a message, or the part of one that has come, against the window. */
  #checkWindow(size: number, fds: number): void {
    const { window, maxFds } = this.#limits;
    if (this.#waiting > 0 && (this.#waitingBytes + size > window || this.#waitingFds + fds > maxFds))
      throw new FramingError('it sent more than the window allows');
  }

  /** Closes the descriptors that belong to no message. The rest of what came in the same receive is ignored. */
  close(): void {
    this.#closed = true;
    const unclaimed = this.#fds.slice(this.#claimed);
    this.#fds = NONE;
    this.#claimed = 0;
    for (const fd of unclaimed) addon.close(fd);
  }
}
