import { Queue } from '../common/queue.js';
import type { Link } from '../wire/link.js';
import type { Shipment } from '../wire/shipment.js';
import type { Departing } from './departing.js';
import { Draft } from './draft.js';
import { FramingError } from './frame-reader.js';
import {
  CLOSES,
  CONFIRMS,
  encodeClosing,
  encodeConfirm,
  encodeDeclined,
  encodeHello,
  FRAME_FDS,
  type Hello,
} from './frames.js';
import { Requests } from './requests.js';
import type { Taken } from './taken.js';

/** A shipment, and the messages in it that are not sent whole yet: where each begins and ends. */
interface Load {
  shipment: Shipment;
  messages: { departing: Departing; at: number; end: number }[];
}

/** About how many bytes one shipment has, if no single message has more. */
const SHIPMENT_BYTES = 65_536;
/**
 * So many words that a request has no reply wait, at most, before nothing more is received: a peer may read nothing.
 */
const MOST_DECLINED = 4096;
const NONE: number[] = [];

/** The sending half of a channel: what waits, what is under way, and what the peer has not taken yet. */
export class Sender {
  readonly #packets: boolean;
  readonly #taken: Taken;
  /** What is said first, until it was. */
  #hello: Hello | undefined;
  /** What the peer said first. */
  #peer: Hello | undefined;
  /** How many were ever queued. */
  #queued = 0;
  readonly #queue = new Queue<Departing>();
  /**
   * Replies wait for no window, since who asked takes them at once: two that only ask would else wait for each other.
   */
  readonly #replies = new Queue<Departing>();
  /** Requests of the peer's that nobody replies to, of which it is to hear. */
  #declined: number[] = NONE;
  /** `'due'`: the peer is to hear that nothing of its own is taken any more, before what waits for its window. */
  #closing: 'no' | 'due' | 'told' = 'no';
  #load: Load | undefined;
  /** So many messages go one by one: a descriptor of one of them made the kernel refuse them all. */
  #singly = 0;
  /** Sent whole or in part, and not taken by the application there yet. */
  readonly #untaken = new Queue<Departing>();
  #untakenBytes = 0;
  #untakenFds = 0;
  #unconfirmed = 0;
  /** Whether the first in line waits for the peer's window. */
  #windowFull = false;
  /** Whether the peer was asked for word of all that it counts. */
  #asked = true;
  readonly #requests = new Requests();
  /** How many the application there has taken since the beginning. */
  #takenThere = 0;

  #sent = 0;

  /** With `packets`, each frame is a message of the kernel's. */
  constructor(hello: Hello, packets: boolean, taken: Taken) {
    this.#hello = hello;
    this.#packets = packets;
    this.#taken = taken;
  }

  // ---- what there is

  /** What the peer said first. */
  get peer(): Hello | undefined {
    return this.#peer;
  }

  /** Whether something waits in line. */
  get waits(): boolean {
    return this.#queue.length > 0 || this.#replies.length > 0 || this.#declined.length > 0;
  }

  /** Whether a peer that reads nothing makes too much wait. One that keeps to the protocol reads, whatever waits. */
  get isBehind(): boolean {
    return this.#declined.length >= MOST_DECLINED;
  }

  /** Whether a shipment is under way. */
  get ships(): boolean {
    return this.#load !== undefined;
  }

  /** Whether somebody waits to hear that a message was taken, or for a reply. */
  get awaitsWord(): boolean {
    return this.#unconfirmed > 0 || this.#requests.awaited > 0;
  }

  /** Whether the end of the peer would lose a message, or leave open whether it was taken. */
  get unsettled(): boolean {
    return this.#queue.length + this.#replies.length + this.#untaken.length + this.#requests.awaited > 0;
  }

  /** Whether a message is not sent whole. */
  get unsent(): boolean {
    return this.#queue.length + this.#replies.length + this.#aboard > 0;
  }

  get #aboard(): number {
    return this.#load?.messages.length ?? 0;
  }

  get stats() {
    return {
      sent: this.#sent,
      queued: this.#queue.length + this.#replies.length + this.#aboard,
      untaken: this.#there,
      requests: this.#requests.awaited,
    };
  }

  /** How many messages the peer has whole and has not taken. */
  get #there(): number {
    let there = this.#untaken.length;
    for (const { departing } of this.#load?.messages ?? []) if (departing.kind !== 'reply') there--;
    return there;
  }

  // ---- the line

  push(departing: Departing): void {
    departing.order = this.#queued++;
    this.#lineOf(departing).push(departing);
  }

  /** Takes it out of the line, unless it has departed. */
  withdraw(departing: Departing): boolean {
    return this.#lineOf(departing).remove(departing);
  }

  #lineOf({ kind }: Departing): Queue<Departing> {
    return kind === 'reply' ? this.#replies : this.#queue;
  }

  /** The peer is to hear that the request of this number gets no reply. */
  decline(request: number): void {
    if (this.#declined === NONE) this.#declined = [];
    this.#declined.push(request);
  }

  /** Nothing of the peer's is taken any more. The end of this direction tells that, but what waits comes first. */
  close(): void {
    if (this.#closing === 'no') this.#closing = 'due';
  }

  /** Nobody waits for the reply to a request that has departed any more. */
  abandon(request: Departing, error: Error): void {
    if (request.state === 'sent') request.giveBack(error);
    else {
      const { fds } = request;
      const copies = request.abandon(error);
      if (copies === undefined) {
        request.overdue = error;
        return;
      }
      this.#load!.shipment.replace(fds, copies);
    }
    this.#requests.abandon(request);
  }

  /** The peer has said what it takes. */
  begin(peer: Hello): void {
    this.#peer = peer;
  }

  /** What the next messages of the kernel's carry. */
  get bytes(): Buffer {
    return this.#load!.shipment.rest;
  }

  /**
   * Describes them in the batch, and returns how many they are. `link` is told when what is first in line gets ready.
   */
  fill(link: Link): number {
    this.#load ??= this.#prepare(link);
    return this.#load?.shipment.fill() ?? 0;
  }

  /** The next shipment: hello, then short words, and as many messages as the peer's window and one call hold. */
  #prepare(link: Link): Load | undefined {
    const draft = new Draft(this.#packets);
    if (this.#hello !== undefined) draft.add([encodeHello(this.#hello)], []);
    this.#hello = undefined;
    const first = this.#next(link);
    const word = first !== undefined || this.#taken.due ? this.#taken.tell() : undefined;
    if (word !== undefined) draft.add([word], []);
    for (const request of this.#declined) draft.add([encodeDeclined(request)], []);
    this.#declined = NONE;
    if (this.#tellsClosing) {
      this.#closing = 'told';
      draft.add([encodeClosing()], []);
    }
    const messages = this.#takeAboard(draft, link, first);
    if (this.#mustAsk(messages)) {
      this.#asked = true;
      draft.add([encodeConfirm()], []);
    }
    return draft.length === 0 ? undefined : { shipment: draft.seal(), messages };
  }

  get #tellsClosing(): boolean {
    return this.#closing === 'due' && this.#queue.length > 0 && ((this.#peer?.capabilities ?? 0) & CLOSES) !== 0;
  }

  /** Whether somebody here waits to hear that messages were taken of which the peer need not tell at once. */
  #mustAsk(messages: Load['messages']): boolean {
    if (this.#asked || !((this.#peer?.capabilities ?? 0) & CONFIRMS)) return false;
    return this.#windowFull || messages.some(({ departing }) => departing.confirm);
  }

  #takeAboard(draft: Draft, link: Link, first: Departing | undefined): Load['messages'] {
    const messages: Load['messages'] = [];
    for (let next = first; next && draft.length < SHIPMENT_BYTES; next = this.#next(link)) {
      this.#lineOf(next).remove(next);
      // A descriptor that the kernel refuses must find no message half sent. So one whose descriptors take several
      // calls of the kernel is looked at first, and those of the next do not travel with its last.
      const several = next.fds.length > FRAME_FDS;
      const bad = several ? next.badDescriptor() : undefined;
      if (bad !== undefined) {
        next.giveBack(bad);
        continue;
      }
      if (next.kind === 'request') this.#requests.depart(next);
      const at = draft.length;
      addMessage(draft, next);
      messages.push({ departing: next, at, end: draft.length });
      if (next.kind !== 'reply') {
        this.#untaken.push(next);
        this.#asked = false;
      }
      this.#account(next, 1);
      if (this.#singly > 0) {
        this.#singly--;
        break;
      }
      if (several) break;
    }
    return messages;
  }

  /** What was queued first of what may go now: a reply overtakes only what waits for something. */
  #next(link: Link): Departing | undefined {
    if (this.#peer === undefined) return undefined;
    const message = this.#nextMessage(this.#peer, link);
    const reply = this.#nextReply(this.#peer, link);
    if (message === undefined || reply === undefined) return message ?? reply;
    return message.order < reply.order ? message : reply;
  }

  /** The first message in line if it fits into the peer's window. One always does when nothing else is there. */
  #nextMessage(peer: Hello, link: Link): Departing | undefined {
    this.#windowFull = false;
    for (;;) {
      const next = this.#queue.first;
      if (!next?.ready(link)) return undefined;
      const refusal = next.refusal(peer);
      if (refusal === undefined) {
        const fits = this.#untakenBytes + next.size <= peer.window && this.#untakenFds + next.fds.length <= peer.maxFds;
        this.#windowFull = !fits && this.#untaken.length > 0;
        return this.#windowFull ? undefined : next;
      }
      this.#queue.shift();
      next.giveBack(refusal);
    }
  }

  /** The first reply that is ready. */
  #nextReply(peer: Hello, link: Link): Departing | undefined {
    let next = this.#replies.first;
    while (next !== undefined) {
      const reply = next;
      next = this.#replies.after(reply);
      if (!reply.ready(link)) continue;
      const refusal = reply.refusal(peer);
      if (refusal === undefined) return reply;
      this.#replies.remove(reply);
      reply.giveBack(refusal);
    }
    return undefined;
  }

  #account(departing: Departing, sign: 1 | -1): void {
    if (departing.kind === 'reply') return;
    this.#untakenBytes += sign * departing.size;
    this.#untakenFds += sign * departing.fds.length;
    if (departing.confirm) this.#unconfirmed += sign;
  }

  // ---- what becomes of it

  /** The kernel has so much of the shipment. */
  sent(messages: number, tail: number): void {
    const { shipment, messages: aboard } = this.#load!;
    shipment.sent(messages, tail);
    while (aboard.length > 0 && aboard[0]!.end <= shipment.offset) this.#sentWhole(aboard.shift()!.departing);
    if (shipment.done) this.#load = undefined;
  }

  #sentWhole(departing: Departing): void {
    const { state, kind, confirm, overdue } = departing;
    this.#sent++;
    if (state === 'abandoned') departing.letGo();
    else if (kind !== 'request' && !confirm) departing.settle();
    else departing.state = 'sent';
    if (overdue !== undefined) this.abandon(departing, overdue);
  }

  /** The kernel will not have a descriptor; which, it does not say. Returns whether others can go on. */
  refused(error: Error): boolean {
    const { shipment, messages } = this.#load!;
    // In the middle of a message, which can be neither finished nor taken back, or in a word to the peer.
    if (messages[0]?.at !== shipment.offset) return false;
    this.#load = undefined;
    this.#asked = false;
    for (const { departing } of messages.toReversed()) {
      this.#unload(departing);
      if (departing.state === 'abandoned') departing.letGo();
      else this.#turnBack(departing);
    }
    const { departing } = messages[0];
    if (messages.length > 1) this.#singly = messages.length;
    else if (this.withdraw(departing)) departing.giveBack(error);
    return true;
  }

  /** It will not be sent as part of this shipment. */
  #unload(departing: Departing): void {
    this.#untaken.remove(departing);
    this.#account(departing, -1);
    if (departing.kind === 'request') this.#requests.remove(departing);
  }

  #turnBack(departing: Departing): void {
    departing.state = 'queued';
    this.#lineOf(departing).unshift(departing);
  }

  /**
   * The request of this number has an answer. Returns it if somebody waits for that still; throws when there is none.
   */
  answered(number: number): Departing | undefined {
    return this.#requests.answered(number);
  }

  /** The application there has taken so many messages in all. Throws when that are more than it can have. */
  confirmed(total: number): void {
    const newly = (total - this.#takenThere) >>> 0;
    const there = this.#there;
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
      this.#unload(departing);
      if (departing.state === 'abandoned') departing.letGo();
      else departing.giveBack(error);
    }
    this.dropQueue(error);
    for (let next = this.#replies.shift(); next; next = this.#replies.shift()) next.giveBack(error);
    this.#declined = NONE;
  }

  /** The peer takes nothing more, but replies. */
  dropQueue(error: Error): void {
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) next.giveBack(error);
  }

  /** Nobody will confirm what was sent whole, or reply to it. */
  dropUnconfirmed(error: Error): void {
    for (let left = this.#there; left > 0; left--) {
      const departing = this.#untaken.shift()!;
      this.#account(departing, -1);
      if (departing.confirm) departing.giveBack(error);
    }
    this.#requests.drop(error);
  }
}

function addMessage(draft: Draft, departing: Departing): void {
  let taken = 0;
  for (const { pieces, fds } of departing.depart()) {
    draft.add(pieces, departing.fds.slice(taken, taken + fds));
    taken += fds;
  }
}
