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

/** A shipment, and those messages in it that are not completely sent. `at` and `end` say where each begins and ends. */
interface Load {
  shipment: Shipment;
  messages: { departing: Departing; at: number; end: number }[];
}

/** About how many bytes one shipment has, unless a single message has more. */
const SHIPMENT_BYTES = 65_536;
/**
 * The most declines that wait to be sent while this side still receives. A peer that reads nothing could make more and
 * more of them wait.
 */
const MOST_DECLINED = 4096;
const NONE: number[] = [];

/** The sending half of a channel: what waits, what is being sent, and what the peer has not taken yet. */
export class Sender {
  readonly #packets: boolean;
  readonly #taken: Taken;
  /** This side's hello, until it was sent. */
  #hello: Hello | undefined;
  /** The peer's hello. */
  #peer: Hello | undefined;
  /** How many messages were queued since the beginning. */
  #queued = 0;
  #queue = Queue.none<Departing>();
  /**
   * Replies do not wait for the peer's window, because a requester takes its reply at once. Otherwise two ends that
   * only send requests could wait for each other.
   */
  #replies = Queue.none<Departing>();
  /** The numbers of the peer's requests that nobody replies to. The peer must still be told. */
  #declined: number[] = NONE;
  /**
   * `'due'`: the peer must be told that this side takes no more messages, before the messages that wait for its window.
   */
  #closing: 'no' | 'due' | 'told' = 'no';
  #load: Load | undefined;
  /**
   * How many of the next messages are sent one by one, because the kernel refused a descriptor of one of them and did
   * not say which.
   */
  #singly = 0;
  /** Messages that were sent, completely or in part, and that the peer's application has not taken yet. */
  #untaken = Queue.none<Departing>();
  #untakenBytes = 0;
  #untakenFds = 0;
  #unconfirmed = 0;
  /** Whether the first message in the queue waits for the peer's window. */
  #windowFull = false;
  /** Whether the peer was asked to confirm everything sent so far. */
  #asked = true;
  #requests = Requests.none;
  /** How many messages the peer's application has taken since the beginning. */
  #takenThere = 0;

  #sent = 0;

  /** With `packets`, each frame is a message of its own for the kernel. */
  constructor(hello: Hello, packets: boolean, taken: Taken) {
    this.#hello = hello;
    this.#packets = packets;
    this.#taken = taken;
  }

  // ---- what there is

  /** The peer's hello, if it has come. */
  get peer(): Hello | undefined {
    return this.#peer;
  }

  /** Whether anything waits to be put into a shipment. */
  get waits(): boolean {
    return this.#queue.length > 0 || this.#replies.length > 0 || this.#declined.length > 0;
  }

  /** Whether a peer that reads nothing has made too much wait. A peer that keeps to the protocol always reads. */
  get isBehind(): boolean {
    return this.#declined.length >= MOST_DECLINED;
  }

  /** Whether a shipment is being sent. */
  get ships(): boolean {
    return this.#load !== undefined;
  }

  /** Whether somebody waits for a confirmation or a reply. */
  get awaitsWord(): boolean {
    return this.#unconfirmed > 0 || this.#requests.awaited > 0;
  }

  /** Whether messages would be lost, or it would stay unknown whether they were taken, if the peer ended now. */
  get unsettled(): boolean {
    return this.#queue.length + this.#replies.length + this.#untaken.length + this.#requests.awaited > 0;
  }

  /** Whether any message is not completely sent. */
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

  /** How many complete messages the peer has and has not taken. */
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

  /** Takes a message out of its queue. Returns false if it has departed. */
  withdraw(departing: Departing): boolean {
    return this.#lineOf(departing).remove(departing);
  }

  #lineOf({ kind }: Departing): Queue<Departing> {
    return kind === 'reply' ? (this.#replies = this.#replies.own()) : (this.#queue = this.#queue.own());
  }

  /** Makes the peer be told that the request with this number gets no reply. */
  decline(request: number): void {
    if (this.#declined === NONE) this.#declined = [];
    this.#declined.push(request);
  }

  /**
   * Makes the peer be told that this side takes no more messages. The end of this direction tells that too, but only
   * after everything that waits.
   */
  close(): void {
    if (this.#closing === 'no') this.#closing = 'due';
  }

  /** Notes that nobody waits any more for the reply to a request that has departed. */
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

  /** Begins to send messages: the peer's hello tells what it accepts. */
  begin(peer: Hello): void {
    this.#peer = peer;
  }

  /** The bytes of the kernel's next messages. */
  get bytes(): Buffer {
    return this.#load!.shipment.rest;
  }

  /**
   * Describes these messages in the batch. Returns how many there are. `link` is called when the first in a queue
   * becomes ready.
   */
  fill(link: Link): number {
    this.#load ??= this.#prepare(link);
    return this.#load?.shipment.fill() ?? 0;
  }

  /**
   * Makes the next shipment: the hello, then short frames, then as many messages as fit in the peer's window and in one
   * call.
   */
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

  /** Whether the peer must be asked to confirm at once, because somebody here waits for that. */
  #mustAsk(messages: Load['messages']): boolean {
    if (this.#asked || !((this.#peer?.capabilities ?? 0) & CONFIRMS)) return false;
    return this.#windowFull || messages.some(({ departing }) => departing.confirm);
  }

  #takeAboard(draft: Draft, link: Link, first: Departing | undefined): Load['messages'] {
    const messages: Load['messages'] = [];
    for (let next = first; next && draft.length < SHIPMENT_BYTES; next = this.#next(link)) {
      this.#lineOf(next).remove(next);
      // If the kernel refuses a descriptor, no message may be half sent by then. So if a message's descriptors need
      // several calls, they are checked first, and the descriptors of the next message are not sent with its last ones.
      const several = next.fds.length > FRAME_FDS;
      const bad = several ? next.badDescriptor() : undefined;
      if (bad !== undefined) {
        next.giveBack(bad);
        continue;
      }
      if (next.kind === 'request') (this.#requests = this.#requests.own()).depart(next);
      const at = draft.length;
      addMessage(draft, next);
      messages.push({ departing: next, at, end: draft.length });
      if (next.kind !== 'reply') {
        (this.#untaken = this.#untaken.own()).push(next);
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

  /**
   * Returns the first message or reply that can be sent now, in the order of queueing. A reply overtakes a message only
   * if that must wait.
   */
  #next(link: Link): Departing | undefined {
    if (this.#peer === undefined) return undefined;
    const message = this.#nextMessage(this.#peer, link);
    const reply = this.#nextReply(this.#peer, link);
    if (message === undefined || reply === undefined) return message ?? reply;
    return message.order < reply.order ? message : reply;
  }

  /**
   * Returns the first message in the queue if it fits into the peer's window. It always does if the peer has no others.
   */
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

  /** Returns the first reply that is ready. */
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

  /** Notes that the kernel has taken this much of the shipment. */
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

  /** The kernel refuses a descriptor, but does not say which one. Returns whether the other messages can be sent. */
  refused(error: Error): boolean {
    const { shipment, messages } = this.#load!;
    // This is in the middle of a message, which can be neither finished nor taken back, or in a short frame.
    if (messages[0]?.at !== shipment.offset) return false;
    this.#load = undefined;
    this.#asked = false;
    for (const { departing } of messages.toReversed()) {
      this.#unload(departing);
      if (departing.state === 'abandoned') departing.letGo();
      else if (departing.overdue !== undefined) departing.giveBack(departing.overdue);
      else this.#turnBack(departing);
    }
    const { departing } = messages[0];
    if (messages.length > 1) this.#singly = messages.length;
    else if (this.withdraw(departing)) departing.giveBack(error);
    return true;
  }

  /** Takes a message out of the accounts, because this shipment will not be sent. */
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
   * Notes that the request with this number has an answer. Returns the request if somebody still waits for it. Throws
   * if there is no such request.
   */
  answered(number: number): Departing | undefined {
    return this.#requests.answered(number);
  }

  /** Notes that the peer's application has taken this many messages in all. Throws if it cannot have so many. */
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

  /**
   * Gives back what is not completely sent. What was sent may still be confirmed as long as something can be received.
   */
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

  /** Gives back the messages and requests that wait, because the peer takes only replies now. */
  dropQueue(error: Error): void {
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) next.giveBack(error);
  }

  /** Gives back what was sent and waits for a confirmation or a reply, because none will come. */
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
