import { checkBoolean, checkOptions, invalidType, type Names } from '../common/arguments.js';
import type { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { watchForGarbage } from '../descriptor/garbage.js';
import { outgoingAll } from '../descriptor/outgoing.js';
import { OwnedFd } from '../descriptor/owned-fd.js';
import { closed, codecsDiffer, noHello, noReply, noRequests, protocolBroken, type FdPasserError } from '../errors.js';
import { PEER_GONE } from '../wire/link-error.js';
import type { Emitter, SessionEvents } from '../wire/link-owner.js';
import { Session, type OnError } from '../wire/session.js';
import { codecName, type Codec, type Coder } from './codec.js';
import { Departing, type Order } from './departing.js';
import { FramingError } from './frame-reader.js';
import { CONFIRMS, REQUESTS, type Hello } from './frames.js';
import { HelloClock } from './hello-clock.js';
import { tellLater } from './late-word.js';
import type { Message } from './message.js';
import { Question, type Answerer, type ReplyOptions } from './question.js';
import { Receiver, ROOM, type Arrived, type Listener } from './receiver.js';
import { Sender } from './sender.js';
import type { ChannelStats } from './stats.js';
import { Taken, type Weight } from './taken.js';

export interface ChannelEvents extends SessionEvents {
  /**
   * A message of the peer could not be read (`ERR_FDPASSER_UNREADABLE`). It was passed over, and its descriptors were
   * closed.
   */
  unreadable: [FdPasserError];
}

const REPLY: Names<ReplyOptions> = { keepOpen: true };

/** The checked options of a channel. */
export interface Terms {
  coder: Coder;
  hello: Hello;
  helloTimeout: number;
  onError: OnError | undefined;
}

/** One channel, from its hello to its end. It joins the two halves to the link. */
export class ChannelSession<T> extends Session<Arrived<T>> implements Listener<T>, Answerer {
  readonly #coder: Coder;
  readonly #taken: Taken;
  readonly #sender: Sender;
  readonly #receiver: Receiver<T>;
  /** Until the hello has come. */
  #clock: HelloClock | undefined;
  /**
   * The state of this side. `'closing'`: `close` was called. `'heard'`: the peer was also told that this side takes no
   * more messages.
   */
  #ours: 'open' | 'closing' | 'heard' = 'open';
  /**
   * The state of the peer. `'closing'`: it takes no more messages. `'ended'`: it also sends nothing more, but may wait
   * to be told what was taken. `'gone'`: the socket is closed.
   */
  #theirs: 'open' | 'closing' | 'ended' | 'gone' = 'open';
  /** Whether the peer ended before all messages were sent or taken. */
  #cutShort = false;
  /** How many requests of the peer have no answer yet. */
  #unanswered = 0;
  #warned = false;
  /** Whether it will tell later what was taken. */
  #tellsLater = false;

  /** Takes the socket over, unless it throws. With `packets`, each frame is a message of its own for the kernel. */
  constructor(emitter: Emitter, socket: Custody, packets: boolean, { coder, hello, helloTimeout, onError }: Terms) {
    super(emitter, onError);
    this.#coder = coder;
    this.#taken = new Taken(hello);
    this.#sender = new Sender(hello, packets, this.#taken);
    this.#receiver = new Receiver<T>(hello, coder, packets, this);
    this.start(socket);
    this.#clock = new HelloClock(
      helloTimeout,
      () => this.look(),
      () => this.fail(noHello(helloTimeout)),
    );
    this.link!.send();
    this.link!.receive();
  }

  get what(): string {
    return 'channel';
  }

  // ---- what the channel asks

  /** Throws `ERR_FDPASSER_CLOSED` if nothing more can be sent. */
  override checkSendable(): void {
    super.checkSendable();
    if (this.#theirs !== 'open') throw peerClosed();
  }

  /** Does the same for requests. Throws `ERR_FDPASSER_NO_REQUESTS` if the peer does not know requests. */
  checkAskable(): void {
    this.checkSendable();
    const { peer } = this.#sender;
    if (peer !== undefined && !(peer.capabilities & REQUESTS)) throw noRequests();
  }

  /** Receives what is there, without waiting until the event loop tells. */
  look(): void {
    this.link!.receiveNow();
  }

  get codec(): Codec {
    return this.#coder.name;
  }

  stats(): ChannelStats {
    const { carried, waiting, asking } = this;
    const { received } = this.#receiver;
    return { ...carried, ...this.#sender.stats, received, waiting, asking, unanswered: this.#unanswered };
  }

  /** Encodes a message and takes its descriptors over. If it throws, or `check` does, the caller still owns them. */
  prepare(value: unknown, fds: readonly FdLike[], keepOpen: boolean, order: Order, check: () => void): Departing {
    checkBoolean('options.keepOpen', keepOpen);
    if (!Array.isArray(fds)) throw invalidType('fds', 'an array of descriptors', fds);
    check();
    const bytes = this.#coder.encode(value);
    return new Departing(bytes, outgoingAll(fds, keepOpen ? 'keep' : 'return', false, check), order);
  }

  send(departing: Departing): void {
    this.#sender.push(departing);
    this.link!.send();
    this.link!.receive();
  }

  /** Gives a message back to its sender. Returns false if it has departed. */
  withdraw(departing: Departing, error: Error): boolean {
    if (!this.#sender.withdraw(departing)) return false;
    departing.giveBack(error);
    this.link!.send(); // what was queued behind it may be sent now
    this.closeIfDone();
    this.link!.receive();
    return true;
  }

  /** Notes that nobody waits for the reply to this request any more. */
  abandon(request: Departing, error: Error): void {
    if (this.withdraw(request, error) || request.state === 'settled') return;
    this.#sender.abandon(request, error);
    this.closeIfDone();
    this.link!.receive();
  }

  /**
   * Closes when everything that `close` waits for is done. If only confirmations are missing, this direction ends,
   * which tells the peer that this side takes no more messages. Otherwise two ends that close could wait for each
   * other's confirmations.
   */
  override closeIfDone(): void {
    super.closeIfDone();
    if (this.#ours !== 'closing' || this.#sends || this.#taken.untold) return;
    this.#ours = 'heard';
    this.link!.endSending();
  }

  // ---- sending: what the link asks

  get bytes(): Buffer {
    return this.#sender.bytes;
  }

  /**
   * When the peer's direction has ended, only checks tell that it is gone altogether. So what may still be sent counts
   * too.
   */
  unsent(): boolean {
    return this.#sends || (this.#theirs === 'ended' && this.#unanswered > 0);
  }

  get #sends(): boolean {
    return this.#sender.waits || this.#sender.ships;
  }

  fill(): number {
    const { isBehind } = this.#sender;
    const messages = this.#sender.fill(this.link!);
    if (isBehind) this.link!.receive();
    if (messages === 0) this.closeIfDone(); // the last message in the queue may have been refused as too large
    return messages;
  }

  sent(messages: number, tail: number): void {
    this.#sender.sent(messages, tail);
    if (this.#sender.ships) return;
    if (this.#theirs === 'ended') this.#sender.dropUnconfirmed(peerClosed());
    this.closeIfDone();
  }

  override refused(error: Error): boolean {
    const goesOn = this.#sender.refused(error);
    if (goesOn) this.closeIfDone();
    return goesOn;
  }

  override cannotSend(error: Error): boolean {
    this.#cutShort = this.#sender.unsent;
    this.sendingFailed(error, this.#cutShort);
    return this.#cutShort;
  }

  // ---- receiving: what the link asks, and what comes

  get room(): Buffer {
    return ROOM;
  }

  get stride(): number {
    return this.#receiver.stride;
  }

  /**
   * It always receives, because the peer's word of what was taken must not be stuck behind messages that nobody takes.
   */
  override wanted(): number {
    return this.#sender.isBehind ? 0 : 1;
  }

  override awaits(): boolean {
    return super.wanted() > 0 || this.#sender.waits || this.#sender.awaitsWord;
  }

  received(messages: number): void {
    let broken: Error | undefined;
    try {
      this.#receiver.read(messages);
    } catch (error) {
      broken = error instanceof FramingError ? protocolBroken(error.message) : (error as Error);
    }
    this.deliver();
    if (broken !== undefined && this.#theirs !== 'gone') this.broken(broken);
  }

  greeted(hello: Hello): void {
    this.#stopClock();
    if (hello.codec !== this.#coder.id) throw codecsDiffer(this.#coder.name, codecName(hello.codec));
    this.#taken.beAsked((hello.capabilities & CONFIRMS) !== 0);
    this.#sender.begin(hello);
    this.link!.send();
  }

  #stopClock(): void {
    this.#clock?.stop();
    this.#clock = undefined;
  }

  told(count: number): void {
    this.#sender.confirmed(count);
    this.link!.send();
    this.closeIfDone();
  }

  /** The peer may still confirm or answer what it has. */
  closes(): void {
    this.#theirs = 'closing';
    this.#cutShort ||= this.#sender.unsent;
    this.#sender.dropQueue(peerClosed());
    this.closeIfDone();
  }

  awaitsTaken(count: number): void {
    this.#taken.await(count);
    this.link!.send();
  }

  arrived(message: Arrived<T>): void {
    this.put(message);
  }

  passedOver(error: FdPasserError, taken: Weight | undefined): void {
    if (taken !== undefined) this.#handOut(taken);
    if (this.emitter!.listenerCount('unreadable') > 0) process.nextTick(() => this.emitter!.emit('unreadable', error));
    else if (!this.#warned) {
      this.#warned = true;
      process.emitWarning(`${error.message}. Listen for 'unreadable' to be told of each`, 'FdPasserWarning');
    }
  }

  // ---- requests, and what answers them

  requested(number: number): Question {
    this.#unanswered++;
    return new Question(this, number);
  }

  reply(
    number: number,
    value: unknown,
    fds: readonly FdLike[],
    options: ReplyOptions,
    sent: () => void,
    reject: (error: Error) => void,
  ): void {
    const { keepOpen = false } = checkOptions(options, REPLY);
    const resolve = (): void => {
      this.#unanswered--;
      sent();
    };
    // A peer that has ended its own direction may still wait for a reply.
    const check = (): void => super.checkSendable();
    this.send(this.prepare(value, fds, keepOpen, { kind: 'reply', number, resolve, reject }, check));
  }

  decline(number: number): void {
    this.#unanswered--;
    if (!this.sendable) return;
    this.#sender.decline(number);
    this.link!.send();
  }

  answered(number: number): Departing | undefined {
    return this.#sender.answered(number);
  }

  replied(request: Departing, reply: Message | Error): void {
    if (reply instanceof Error) request.giveBack(reply);
    else request.settle(reply);
    this.closeIfDone();
  }

  declined(request: Departing): void {
    this.replied(request, noReply());
  }

  // ---- what was taken, and the table

  #handOut(weight: Weight): void {
    if (this.#taken.handOut(weight)) setImmediate(() => this.#countTaken());
  }

  #countTaken(): void {
    this.#taken.count();
    if (this.#taken.due) this.link!.send();
    else if (!this.#tellsLater) this.#tellLater();
  }

  #tellLater(): void {
    this.#tellsLater = true;
    this.#taken.promise();
    tellLater(this);
  }

  /** What was taken since it promised may still go with the next message. */
  tell(): void {
    this.#tellsLater = false;
    if (this.#taken.overdue) {
      this.#taken.awaitAll();
      this.link!.send();
    } else if (this.#taken.untold) this.#tellLater();
  }

  tellNow(): void {
    this.#taken.awaitAll();
    this.link!.sendNow();
  }

  override exhausted(unheard: () => void): void {
    this.#clock?.standStill();
    super.exhausted(unheard);
  }

  override hopeless(): void {
    this.#clock?.goOn();
  }

  override resumed(): void {
    this.#clock?.goOn();
    super.resumed();
  }

  override peerEnded(): void {
    this.#theirs = 'ended';
    this.#taken.beAsked(false);
    this.link!.send();
    this.#cutShort ||= this.#sender.unsettled;
    this.#sender.dropUnconfirmed(peerClosed());
    this.#sender.dropQueue(peerClosed());
    this.closeIfDone();
  }

  override mayStillSend(): boolean {
    return this.#sends || this.#taken.untold || this.#receiver.holds || this.#unanswered > 0;
  }

  /**
   * A peer that closes does not wait for messages that it would not take, and the socket reports that as an error. It
   * counts as an error only if messages are lost, or if the peer has not ended its direction.
   */
  override ended(error: NodeJS.ErrnoException | undefined): void {
    const lost = this.#cutShort || this.#sender.unsettled;
    const inOrder = this.#theirs === 'ended' && !lost && PEER_GONE.has(-(error?.errno ?? 0));
    this.#theirs = 'gone';
    if (error?.code === 'EMSGSIZE' && error.syscall === 'recvmsg')
      super.ended(protocolBroken('it sent a packet longer than a frame'));
    else if (this.#receiver.unfinished) super.ended(protocolBroken('it ended in the middle of a message'));
    else super.ended(inOrder ? undefined : error);
  }

  // ---- what the session asks

  protected override owes(): boolean {
    return this.#sends || this.#sender.awaitsWord || this.#taken.untold;
  }

  protected override closing(): void {
    this.#ours = 'closing';
    this.#sender.close();
    this.#taken.beAsked(false);
    this.link?.send();
    super.closing();
  }

  protected override taken(arrived: Arrived<T>): void {
    this.#receiver.taken(arrived);
    this.#handOut(arrived);
    for (const weight of arrived.unreadable) this.#handOut(weight);
  }

  protected override outlives({ message }: Arrived<T>): void {
    for (const fd of message.fds) watchForGarbage(fd);
  }

  protected discard({ message }: Arrived<T>): void {
    OwnedFd.closeAll(message.fds);
  }

  protected dropUnsent(error: Error): void {
    this.#sender.dropUnsent(error);
  }

  protected override dropAll(error: Error): void {
    this.#sender.dropUnconfirmed(error);
    this.#sender.dropUnsent(error);
  }

  protected override disconnect(): void {
    this.#theirs = 'gone';
    this.#stopClock();
    super.disconnect();
    this.#receiver.close();
  }
}

/** The error for calls that wait when the peer has ended. */
function peerClosed(): Error {
  return closed('channel', 'the peer closed its end');
}
