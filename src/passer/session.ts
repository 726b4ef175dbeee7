import type { EventEmitter } from 'node:events';
import type { Custody } from '../descriptor/custody.js';
import { lend, letGo, numberOf, sendable, unsent, type Outgoing, type Waiting } from '../descriptor/outgoing.js';
import { OwnedFd, ownReceived } from '../descriptor/owned-fd.js';
import { attempt } from '../common/attempt.js';
import { plainData } from '../errors.js';
import type { Link } from '../wire/link.js';
import type { SessionEvents } from '../wire/link-owner.js';
import { Session, type OnError } from '../wire/session.js';
import { MAX_MESSAGES } from '../native/addon.js';
import { batch } from '../native/load.js';
import { Queue } from '../common/queue.js';
import { expectChoice, expectNoChoice } from './forgotten-choice.js';
import type { UndecidedPair } from './undecided-pair.js';

/** Bytes of room for the payload of each received message, which may be another program's. */
const STRIDE = 256;
/** Nobody looks at the payloads, so all passers of a thread share the room. */
const ROOM = new Uint8Array(STRIDE * MAX_MESSAGES);
/** About how many descriptors one call sends. More would delay the event loop, and save nothing. */
const AT_ONCE = 1024;

/** The inside of a passer: its queue of descriptors to send, and what it does with those received. */
export class PasserSession extends Session<OwnedFd> {
  readonly bytes: Uint8Array;
  /** The most descriptors in a message. */
  readonly #batch: number;
  #sends = Queue.none<Outgoing, OwnedFd>();
  /** The pair, if the passer was made from one. One of its ends becomes the socket. */
  pair: UndecidedPair | undefined;
  /** How many of the next descriptors are sent one by one, because the kernel refused a message with all of them. */
  #singly = 0;

  /** `bytes` are the payloads of all messages that one call can send. */
  constructor(of: EventEmitter<SessionEvents>, onError: OnError | undefined, most: number, bytes: Uint8Array) {
    super(of, onError);
    this.#batch = most;
    this.bytes = bytes;
  }

  get what(): string {
    return 'passer';
  }

  override start(socket: Custody): void {
    super.start(socket);
    if (this.pair !== undefined) expectNoChoice(this);
    if (this.#sends.length > 0) this.link!.send();
    this.link!.receive();
  }

  /** Takes over the end of the pair that was chosen. */
  begin(socket: Custody): void {
    try {
      this.start(socket);
    } catch (error) {
      socket.close();
      this.finish((error as Error).message);
      throw error;
    }
  }

  /**
   * Queues a descriptor. If it is too late, gives the descriptor back and throws: code of the caller's that told what
   * the descriptor is may have closed this passer.
   */
  enqueue(outgoing: Outgoing): void {
    try {
      this.checkSendable();
    } catch (error) {
      outgoing.giveBack();
      throw error;
    }
    (this.#sends = this.#sends.own()).push(outgoing);
    this.#sendSoon();
  }

  /** Queues a lent descriptor if nobody is to be told the result. */
  enqueueLent(owned: OwnedFd): void {
    const lent = lend(owned);
    (this.#sends = this.#sends.own()).pushBare(lent);
    this.#sendSoon();
  }

  #sendSoon(): void {
    if (this.link === undefined) this.expectChoice();
    else this.link.send();
  }

  protected override asked(): void {
    super.asked();
    if (this.link === undefined) this.expectChoice();
  }

  /** How many descriptors wait to be sent. */
  get queued(): number {
    return this.#sends.length;
  }

  /** Whether a side is still to be chosen. */
  get undecided(): boolean {
    return this.pair !== undefined && this.link === undefined;
  }

  /** To be called when something waits, or a child may have the peer, so that a side should be chosen soon. */
  expectChoice(): void {
    if (this.pair?.known === true && this.waits !== undefined) expectChoice(this);
  }

  /** What waits for a side to be chosen. */
  get waits(): string | undefined {
    const { length } = this.#sends;
    const toSend = length === 1 ? 'A descriptor waits to be sent' : `${length} descriptors wait to be sent`;
    if (this.wanted() <= 0) return length === 0 ? undefined : toSend;
    return length === 0 ? 'A receive waits' : `${toSend}, and a receive waits,`;
  }

  /** Takes a descriptor back. Returns false if it was sent already. */
  withdraw(outgoing: Outgoing): boolean {
    if (!this.#sends.remove(outgoing)) return false;
    outgoing.unsent();
    this.link?.send(); // what was queued behind it may be sent now, or nothing waits any more
    return true;
  }

  // ---- sending

  fill(): number {
    const link = this.link!;
    const payload = this.bytes.length / MAX_MESSAGES;
    let messages = 0;
    let descriptors = 0;
    let next = this.#firstSendable(link);
    let place = this.#sends.next();
    while (next !== undefined && messages < MAX_MESSAGES && descriptors < AT_ONCE) {
      const most = this.#singly > messages ? 1 : this.#batch;
      let count = 0;
      for (; next !== undefined && count < most; count++) {
        batch.fd[descriptors++] = numberOf(next);
        place = this.#sends.next(place + 1);
        next = sendable(this.#sends.at(place), link);
      }
      batch.size[messages] = payload;
      batch.count[messages++] = count;
    }
    return messages;
  }

  #firstSendable(link: Link): Waiting | undefined {
    for (;;) {
      const { first } = this.#sends;
      if (first instanceof OwnedFd) return first;
      if (!first?.ready(link)) return undefined;
      const { refusal, gone } = first;
      if (refusal === undefined) return first;
      this.#sends.shift();
      first.unsent();
      if (first.whenRefused !== undefined) first.whenRefused(refusal);
      // If a connection breaks while it waits, its owner sees that on the socket. Otherwise only a warning can tell it.
      else if (!gone) process.emitWarning(refusal);
      this.closeIfDone();
    }
  }

  sent(messages: number): void {
    const toTell: (() => void)[] = [];
    for (let i = 0, left = 0; i < messages; i++) {
      this.#singly = Math.max(0, this.#singly - 1);
      for (left = batch.count[i]!; left > 0; left--) {
        const whenSent = letGo(this.#sends.shift()!);
        if (whenSent !== undefined) toTell.push(whenSent);
      }
    }
    try {
      tell(toTell);
    } finally {
      this.closeIfDone();
    }
  }

  /**
   * The kernel does not say which of several descriptors in a message it refused, so they are sent again one by one.
   */
  override refused(error: Error): boolean {
    if (batch.count[0]! > 1) {
      this.#singly = batch.count[0]!;
      return true;
    }
    this.#singly = Math.max(0, this.#singly - 1);
    const whenRefused = unsent(this.#sends.shift()!);
    if (whenRefused === undefined) this.fail(error);
    else {
      whenRefused(error);
      this.closeIfDone();
    }
    return true;
  }

  unsent(): boolean {
    return this.link !== undefined && this.#sends.length > 0;
  }

  override mayStillSend(): boolean {
    return this.#sends.length > 0;
  }

  protected dropUnsent(error: Error): void {
    for (let next = this.#sends.shift(); next; next = this.#sends.shift()) unsent(next)?.(error);
  }

  // ---- receiving

  received(messages: number): void {
    let plain = 0;
    let next = 0;
    for (let i = 0; i < messages; i++) {
      const end = next + batch.count[i]!;
      if (next === end) plain ||= batch.size[i]!;
      for (; next < end; next++) this.put(ownReceived(batch.fd[next]!));
    }
    try {
      this.deliver();
    } finally {
      if (plain > 0) this.broken(plainData(plain));
    }
  }

  get room(): Uint8Array {
    return ROOM;
  }

  get stride(): number {
    return STRIDE;
  }

  protected discard(fd: OwnedFd): void {
    fd.close();
  }

  protected override disconnect(): void {
    super.disconnect();
    if (this.pair === undefined) return;
    expectNoChoice(this);
    attempt(() => this.pair!.close());
  }
}

function tell(callbacks: readonly (() => void)[], from = 0): void {
  let next = from;
  try {
    while (next < callbacks.length) callbacks[next++]!();
  } finally {
    // Left over if a callback threw: the next tick calls the others.
    if (next < callbacks.length) process.nextTick(tell, callbacks, next);
  }
}
