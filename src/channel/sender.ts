import { Queue } from '../common/queue.js';
import type { Link } from '../wire/link.js';
import type { Shipment } from '../wire/shipment.js';
import type { Departing } from './departing.js';
import { Draft } from './draft.js';
import { FramingError } from './frame-reader.js';
import { encodeHello, FRAME_FDS, type Hello } from './frames.js';
import type { Taken } from './taken.js';

/** A shipment, and the messages in it that are not sent whole yet: where each begins and ends. */
interface Load {
  shipment: Shipment;
  messages: { departing: Departing; at: number; end: number }[];
}

/** About how many bytes one shipment has, if no single message has more. */
const SHIPMENT_BYTES = 65_536;

/** The sending half of a channel: what waits, what is under way, and what the peer has not taken yet. */
export class Sender {
  readonly #packets: boolean;
  readonly #taken: Taken;
  /** What is said first, until it was. */
  #hello: Hello | undefined;
  /** What the peer said first. */
  #peer: Hello | undefined;
  readonly #queue = new Queue<Departing>();
  #load: Load | undefined;
  /** So many messages go one by one: a descriptor of one of them made the kernel refuse them all. */
  #singly = 0;
  /** Sent whole or in part, and not taken by the application there yet. */
  readonly #untaken = new Queue<Departing>();
  #untakenBytes = 0;
  #untakenFds = 0;
  #unconfirmed = 0;
  /** How many the application there has taken since the beginning. */
  #takenThere = 0;

  /** With `packets`, each frame is a message of the kernel's. */
  constructor(hello: Hello, packets: boolean, taken: Taken) {
    this.#hello = hello;
    this.#packets = packets;
    this.#taken = taken;
  }

  // ---- what there is

  /** Whether messages wait in line. */
  get waits(): boolean {
    return this.#queue.length > 0;
  }

  /** Whether a shipment is under way. */
  get ships(): boolean {
    return this.#load !== undefined;
  }

  /** Whether somebody waits to hear that a message was taken. */
  get awaitsWord(): boolean {
    return this.#unconfirmed > 0;
  }

  /** Whether the end of the peer would lose a message, or leave open whether it was taken. */
  get unsettled(): boolean {
    return this.#queue.length > 0 || this.#untaken.length > 0;
  }

  /** Whether a message is not sent whole. */
  get unsent(): boolean {
    return this.#queue.length > 0 || this.#aboard > 0;
  }

  get #aboard(): number {
    return this.#load?.messages.length ?? 0;
  }

  // ---- the line

  push(departing: Departing): void {
    this.#queue.push(departing);
  }

  /** Takes it out of the line, unless it has departed. */
  withdraw(departing: Departing): boolean {
    return this.#queue.remove(departing);
  }

  /** The peer has said what it takes. */
  begin(peer: Hello): void {
    this.#peer = peer;
  }

  /** What the next messages of the kernel's carry. */
  get bytes(): Buffer {
    return this.#load!.shipment.rest;
  }

  /** Describes them in the batch, and returns how many they are. `link` is told when what is first in line gets ready. */
  fill(link: Link): number {
    this.#load ??= this.#prepare(link);
    return this.#load?.shipment.fill() ?? 0;
  }

  /** The next shipment: hello, then what was taken, and as many messages as the peer's window and one call hold. */
  #prepare(link: Link): Load | undefined {
    const draft = new Draft(this.#packets);
    if (this.#hello !== undefined) draft.add([encodeHello(this.#hello)], []);
    this.#hello = undefined;
    const word = this.#taken.tell();
    if (word !== undefined) draft.add([word], []);
    const messages = this.#takeAboard(draft, link);
    return draft.length === 0 ? undefined : { shipment: draft.seal(), messages };
  }

  #takeAboard(draft: Draft, link: Link): Load['messages'] {
    const messages: Load['messages'] = [];
    for (let next = this.#next(link); next && draft.length < SHIPMENT_BYTES; next = this.#next(link)) {
      this.#queue.remove(next);
      // A descriptor that the kernel refuses must find no message half sent. So one whose descriptors take several calls
      // of the kernel is looked at first, and those of the next do not travel with its last.
      const several = next.fds.length > FRAME_FDS;
      const bad = several ? next.badDescriptor() : undefined;
      if (bad !== undefined) {
        next.giveBack(bad);
        continue;
      }
      const at = draft.length;
      addMessage(draft, next);
      messages.push({ departing: next, at, end: draft.length });
      this.#untaken.push(next);
      this.#account(next, 1);
      if (this.#singly > 0) {
        this.#singly--;
        break;
      }
      if (several) break;
    }
    return messages;
  }

  /** The first message in line if it fits into the peer's window. One always does when nothing else is there. */
  #next(link: Link): Departing | undefined {
    if (this.#peer === undefined) return undefined;
    const { maxFds, window } = this.#peer;
    for (;;) {
      const next = this.#queue.first;
      if (!next?.ready(link)) return undefined;
      const refusal = next.refusal(this.#peer);
      if (refusal === undefined) {
        const fits = this.#untakenBytes + next.size <= window && this.#untakenFds + next.fds.length <= maxFds;
        return fits || this.#untaken.length === 0 ? next : undefined;
      }
      this.#queue.shift();
      next.giveBack(refusal);
    }
  }

  #account(departing: Departing, sign: 1 | -1): void {
    this.#untakenBytes += sign * departing.size;
    this.#untakenFds += sign * departing.fds.length;
    if (departing.confirm) this.#unconfirmed += sign;
  }

  // ---- what becomes of it

  /** The kernel has so much of the shipment. */
  sent(messages: number, tail: number): void {
    const { shipment, messages: aboard } = this.#load!;
    shipment.sent(messages, tail);
    while (aboard.length > 0 && aboard[0]!.end <= shipment.offset) {
      const { departing } = aboard.shift()!;
      if (departing.confirm) departing.state = 'sent';
      else departing.settle();
    }
    if (shipment.done) this.#load = undefined;
  }

  /** The kernel will not have a descriptor; which, it does not say. Returns whether others can go on. */
  refused(error: Error): boolean {
    const { shipment, messages } = this.#load!;
    // In the middle of a message, which can be neither finished nor taken back, or in a word to the peer.
    if (messages[0]?.at !== shipment.offset) return false;
    this.#load = undefined;
    for (const { departing } of messages.toReversed()) {
      this.#untaken.remove(departing);
      this.#account(departing, -1);
      departing.state = 'queued';
      this.#queue.unshift(departing);
    }
    if (messages.length > 1) this.#singly = messages.length;
    else this.#queue.shift()!.giveBack(error);
    return true;
  }

  /** The application there has taken so many messages in all. Throws when that are more than it can have. */
  confirmed(total: number): void {
    const newly = (total - this.#takenThere) >>> 0;
    const there = this.#untaken.length - this.#aboard;
    if (newly > there) throw new FramingError(`it says that it took ${newly} messages of ${there}`);
    this.#takenThere = total;
    for (let i = 0; i < newly; i++) {
      const departing = this.#untaken.shift()!;
      this.#account(departing, -1);
      if (departing.confirm) departing.settle();
    }
  }

  /** What was sent whole may still be confirmed, as long as there is something to receive. */
  dropUnsent(error: Error): void {
    const aboard = this.#load?.messages ?? [];
    this.#load = undefined;
    for (const { departing } of aboard) {
      this.#untaken.remove(departing);
      this.#account(departing, -1);
      departing.giveBack(error);
    }
    this.dropQueue(error);
  }

  dropQueue(error: Error): void {
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) next.giveBack(error);
  }

  /** Nobody will confirm what was sent whole. */
  dropUnconfirmed(error: Error): void {
    for (let left = this.#untaken.length - this.#aboard; left > 0; left--) {
      const departing = this.#untaken.shift()!;
      this.#account(departing, -1);
      if (departing.confirm) departing.giveBack(error);
    }
  }
}

function addMessage(draft: Draft, departing: Departing): void {
  let taken = 0;
  for (const { pieces, fds } of departing.depart()) {
    draft.add(pieces, departing.fds.slice(taken, taken + fds));
    taken += fds;
  }
}
