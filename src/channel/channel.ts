import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { abortable, type Abortable } from '../common/abort.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import type { Sender } from '../descriptor/node-object.js';
import { Outgoing, outgoingAll } from '../descriptor/outgoing.js';
import { OwnedFd, ownReceived, setUnread } from '../descriptor/owned-fd.js';
import { connectWith, type ConnectOptions } from '../endpoint/connect.js';
import { inherited, spawnWith, type SpawnOptions } from '../endpoint/spawn.js';
import { checkBoolean, checkInteger, checkOptions, invalidType, invalidValue } from '../common/arguments.js';
import {
  checked,
  closed,
  codecsDiffer,
  detached,
  noHello,
  protocolBroken,
  tooLarge,
  tooMuchUnread,
  unreadable,
  type FdPasserError,
} from '../errors.js';
import { iterate } from '../common/iterate.js';
import { Life, type LifeEvents, type OnError } from '../wire/life.js';
import { checkSocket, Link, linkError, PEER_GONE, type LinkOwner } from '../wire/link.js';
import { Draft, type Shipment } from '../wire/shipment.js';
import { addon, batch } from '../native/load.js';
import { Queue, Queued } from '../common/queue.js';
import { coderOf, codecName, type Codec, type Coder } from './codec.js';
import {
  bodyLength,
  encodeBody,
  encodeHello,
  encodeMessage,
  encodeTaken,
  FRAME_BYTES,
  FRAME_FDS,
  FramingError,
  HEADER_BYTES,
  Reader,
  UNREAD_BYTES,
  windowSize,
  type Body,
  type Frame,
  type Hello,
  type Incoming,
} from './frames.js';
import { HelloClock } from './hello-clock.js';

export interface FdChannelOptions {
  /** How values become bytes; must be the same at both ends. Default `'json'`. */
  codec?: Codec;
  /** The largest value to receive, in bytes. Default 64 KiB, and 16 MiB for the codec `'bytes'`. */
  maxMessageBytes?: number;
  /** The most descriptors to receive in one message, and in all messages that nobody has taken yet. Default 1024. */
  maxFds?: number;
  /** How many bytes of messages, 8 more for each, may be here that nobody has taken yet; then the peer waits. Default 65536. */
  highWaterMark?: number;
  /** How long to wait for the peer's first word, in milliseconds. Default 10000. */
  helloTimeout?: number;
  /** Called once when the channel shuts down by itself: with the error, or with `undefined` when the peer ended in order. */
  onError?: OnError;
}

export interface FdChannelSpawnOptions extends SpawnOptions {
  /** Of the channel here. */
  channel?: FdChannelOptions;
}

export interface ChannelSendOptions extends Abortable {
  /** Leave the descriptors open here; they stay the caller's. Default false: they are closed. */
  keepOpen?: boolean;
  /**
   * Resolve only when the application at the other end has taken the message. `signal` does not end that wait: `destroy()`
   * does, or the end of the peer.
   */
  confirm?: boolean;
}

export interface ChannelEvents extends LifeEvents {
  /** A message of the peer could not be read (`ERR_FDPASSER_UNREADABLE`) and was passed over, its descriptors closed. */
  unreadable: [FdPasserError];
}

/** A message received, and its descriptors, which are the receiver's to close. */
export class Message<T = unknown> {
  constructor(
    readonly value: T,
    readonly fds: OwnedFd[],
  ) {}

  /** Closes the descriptors that were not taken out, handed on or closed: for `using`. */
  [Symbol.dispose](): void {
    const failures: unknown[] = [];
    for (const fd of this.fds) {
      try {
        fd.close();
      } catch (error) {
        failures.push(error); // the others are closed all the same
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** What a message counts against the window. */
interface Weight {
  size: number;
  fds: number;
}

/** A message received. */
interface Arrived<T> extends Weight {
  message: Message<T>;
  /** The messages right behind it, if they could not be read: they count as taken when it is. */
  unreadable: Weight[];
}

/** A message on its way out. */
class Departing extends Queued {
  readonly #value: Buffer;
  /** How many bytes its value has. */
  readonly valueLength: number;
  /** Of its body, once it has departed. Its bytes are the caller's again when it was sent. */
  #length: number | undefined;

  constructor(
    value: Buffer,
    readonly fds: Outgoing[],
    readonly confirm: boolean,
    readonly resolve: () => void,
    readonly reject: (error: Error) => void,
  ) {
    super();
    this.#value = value;
    this.valueLength = value.length;
  }

  /** Whether it can depart now; if not, `wake` is called when that may have changed. */
  ready(sender: Sender): boolean {
    return this.fds.every((fd) => fd.ready(sender));
  }

  /** Why it must not depart. */
  get refusal(): Error | undefined {
    if (this.#value.length !== this.valueLength) return detached();
    return this.fds.find((fd) => fd.refusal !== undefined)?.refusal;
  }

  /** How many bytes of its sockets were read already. */
  get unreadLength(): number {
    return this.#unread.reduce((length, { bytes }) => length + bytes.length, 0);
  }

  /** Its bytes on the wire without those of the frames. */
  get length(): number {
    return this.#length ?? bodyLength(this.valueLength, this.#unread);
  }

  /** What it counts against the peer's window. */
  get size(): number {
    return windowSize(this.length);
  }

  /** It departs now, with what was read from its sockets until now. The frames are copies. */
  depart(): Frame[] {
    const unread = this.#unread;
    const body = encodeBody(this.#value, unread);
    this.#length = body.length;
    for (const fd of this.fds) fd.depart();
    return encodeMessage(body, this.fds.length, unread.length > 0);
  }

  /** It stands in line again. */
  turnBack(): void {
    this.#length = undefined;
  }

  get #unread(): Body['unread'] {
    const found: Body['unread'] = [];
    for (const [index, { unread: bytes }] of this.fds.entries()) if (bytes !== undefined) found.push({ index, bytes });
    return found;
  }
}

/** A shipment, and the messages in it that are not sent whole yet: where each begins and ends. */
interface Load {
  shipment: Shipment;
  messages: { departing: Departing; at: number; end: number }[];
}

/** About how many bytes one shipment has, if no single message has more. */
const SHIPMENT_BYTES = 65_536;
/** What one receive takes, unless a frame needs more: a peer can put very many messages into a few bytes. */
const SHORT = 8192;
/** Room for one frame, or what else one receive brings. Whatever lasts is copied, so all channels of a thread share it. */
const ROOM = Buffer.allocUnsafeSlow(HEADER_BYTES + FRAME_BYTES);
const MAX_UINT32 = 0xffff_ffff;
/** The longest that a timer waits. */
const MAX_DELAY = 0x7fff_ffff;

/**
 * Messages with descriptors beside them, in order, both ways, over an AF_UNIX stream or seqpacket socket.
 *
 * Both ends say hello first, so that a program that speaks something else is found out. Each then receives by itself as
 * much as the other's limits allow, so that two that only send never wait for each other for ever; what nobody has taken
 * waits here, and beyond `highWaterMark` bytes or `maxFds` descriptors with the sender.
 *
 * The event loop lives on while something is waited for: a send, a confirmation, a receive.
 */
export class FdChannel<T = unknown> extends EventEmitter<ChannelEvents> {
  readonly #life: Life<Arrived<T>>;
  readonly #coder: Coder;
  readonly #codec: Codec;
  readonly #hello: Hello;
  readonly #link: Link;
  readonly #packets: boolean;
  readonly #clock: HelloClock;
  /** What the peer said first. */
  #peer: Hello | undefined;

  /**
   * `'heard'`: the peer takes and sends nothing more, but may wait to hear what is taken of its messages. `'over'`: the
   * socket is gone.
   */
  #ending: 'no' | 'heard' | 'over' = 'no';
  #closing = false;
  /** The peer went before all messages were sent, or taken. */
  #cutShort = false;

  readonly #sends = new Queue<Departing>();
  #greeted = false;
  #load: Load | undefined;
  /** So many messages go one by one: a descriptor of one of them made the kernel refuse them all. */
  #singly = 0;
  /** Sent whole or in part, and not taken by the application there yet. */
  readonly #untaken: Departing[] = [];
  #untakenBytes = 0;
  #untakenFds = 0;
  #unconfirmed = 0;
  /** How many the application there has taken since the beginning. */
  #takenThere = 0;

  readonly #reader: Reader;
  #stride: number;
  /** Received, and not claimed by a message yet. */
  readonly #fds: number[] = [];
  /** Messages that wait here for someone, on the peer's account. */
  #waiting = 0;
  #waitingBytes = 0;
  #waitingFds = 0;
  /** The last message of those that wait. */
  #last: Arrived<T> | undefined;
  #warned = false;
  #warnedOfLate = false;
  /** Messages that the application was given and may not have seen yet. */
  #handedOut = 0;
  /** Messages taken since the beginning, and what the peer was told of it. */
  #taken = 0;
  #told = 0;

  /**
   * Takes over one end of a connected AF_UNIX stream or seqpacket socket. Throws, taking nothing over, as `FdPasser` does,
   * and `ERR_INVALID_ARG_VALUE` for a datagram socket.
   */
  constructor(fh: FdLike, options: FdChannelOptions = {}) {
    super();
    const {
      codec = 'json',
      maxFds = 1024,
      highWaterMark = 65_536,
      helloTimeout = 10_000,
      onError,
    } = checkOptions(options);
    this.#codec = codec;
    this.#coder = coderOf(codec);
    const { maxMessageBytes = this.#coder.mostBytes } = options;
    this.#hello = {
      codec: this.#coder.id,
      maxMessageBytes: checkInteger('options.maxMessageBytes', maxMessageBytes, 1, MAX_UINT32),
      maxFds: checkInteger('options.maxFds', maxFds, 1, MAX_UINT32),
      window: checkInteger('options.highWaterMark', highWaterMark, 1, MAX_UINT32),
    };
    checkInteger('options.helloTimeout', helloTimeout, 1, MAX_DELAY);
    this.#reader = new Reader(this.#hello);
    this.#life = new Life<Arrived<T>>(this, this.#alive(), onError);

    const socket = new Custody('fh', fh);
    try {
      const type = checkSocket(socket.fd);
      if (type === 'dgram') throw invalidValue('fh', 'a stream or seqpacket socket', fh);
      socket.refuseUnread();
      this.#packets = type !== 'stream';
      this.#stride = this.#packets ? ROOM.length : SHORT;
      checked(addon.closeOnExec(socket.fd), 'fcntl');
      checked(addon.setNonblocking(socket.fd), 'fcntl');
      this.#link = new Link(socket, this.#owner());
    } catch (error) {
      socket.giveBack();
      throw error;
    }
    this.#clock = new HelloClock(helloTimeout, () => this.#life.fail(noHello(helloTimeout)));
    this.#link.send();
    this.#link.receive();
  }

  /** Connects to a listening socket, as `connect` does, which see for its options and errors. */
  static connect<T = unknown>(path: string, options: FdChannelOptions & ConnectOptions = {}): Promise<FdChannel<T>> {
    return connectWith(path, options, (socket) => new this<T>(socket, options));
  }

  /**
   * Starts a child process that has the other end: it calls `FdChannel.inherit()`. `child_process.spawn` starts it, or
   * `fork`, and an `'error'` of `child` tells that it could not. Throws as they do, and `EMFILE` for want of descriptors.
   */
  static spawn<T = unknown>(
    command: string | URL,
    args: readonly string[] = [],
    options: FdChannelSpawnOptions = {},
  ): { child: ChildProcess; channel: FdChannel<T> } {
    const { channel: own, ...rest } = checkOptions(options);
    const { child, end } = spawnWith(command, args, rest, (fd) => new this<T>(fd, own));
    return { child, channel: end };
  }

  /**
   * In a child process: the channel over the socket that its parent gave. It is the one that `spawn` of this library says
   * in the environment (`FDPASSER_FD`, which is taken out then), or the place `fd` in the parent's `stdio`: by default 3.
   */
  static inherit<T = unknown>(fd?: number, options: FdChannelOptions = {}): FdChannel<T> {
    return inherited(fd, (number) => new this<T>(number, options));
  }

  /**
   * Sends a value and descriptors. Takes the descriptors over: they are closed here once the kernel has the message, or
   * with `confirm` once the application there has taken it; unless `keepOpen`.
   *
   * Resolves at that moment. Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (only before the message began to be
   * sent), `ERR_FDPASSER_TOO_LARGE` for the peer's limits, or the system's error. The descriptors are then still the
   * caller's. With `confirm`, a rejection means that the peer went without saying that it took the message; once that is
   * under way only `destroy()`, or the end of the peer, ends the wait.
   */
  send(value: T, fds: readonly FdLike[] = [], options: ChannelSendOptions = {}): Promise<void> {
    return abortable(options, (resolve, reject) => {
      const { keepOpen = false, confirm = false } = options;
      checkBoolean('options.keepOpen', keepOpen);
      checkBoolean('options.confirm', confirm);
      if (!Array.isArray(fds)) throw invalidType('fds', 'an array of descriptors', fds);
      this.#checkSendable();
      const bytes = this.#coder.encode(value);
      const outgoing = outgoingAll(fds, keepOpen ? 'keep' : 'return', Outgoing, () => this.#checkSendable());
      const departing = new Departing(bytes, outgoing, confirm, resolve, reject);
      this.#sends.push(departing);
      this.#link.send();
      this.#link.receive();
      return (error) => {
        if (!this.#sends.remove(departing)) {
          setImmediate(() => this.#tooLate(departing));
          return;
        }
        giveBack(departing, error);
        this.#link.send(); // what stood behind it may go
        this.#closeIfDone();
        this.#link.receive();
      };
    });
  }

  #checkSendable(): void {
    this.#life.checkSendable();
    if (this.#ending !== 'no') throw peerClosed();
  }

  /** A signal cannot take this one back any more; whoever aborts and then destroys needs no word of it. */
  #tooLate(departing: Departing): void {
    if (this.#warnedOfLate || !departing.confirm || !this.#untaken.includes(departing)) return;
    this.#warnedOfLate = true;
    process.emitWarning(
      'The signal of a send with confirm was aborted when the message had departed, which cannot be taken back: the send ' +
        'waits until the peer takes the message. destroy() the channel, or end the peer, to wait no longer',
      'FdPasserWarning',
    );
  }

  /**
   * The next message; its descriptors are the caller's to close. The peer's `confirm` resolves with this.
   *
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (no message is lost by it), or the error that broke the channel.
   */
  async receive(options: Abortable = {}): Promise<Message<T>> {
    const { message } = await this.#life.receive(options);
    return message;
  }

  /** Messages as they come, until the peer ends or the channel is closed. Throws the error that breaks it. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message<T>> {
    return iterate(
      (signal) => this.receive({ signal }),
      () => this.#life.inOrder,
      () => this.#life.failure,
    );
  }

  /**
   * Sends what is queued and waits for what is to be confirmed, then closes. Nothing more is received: whoever waits for
   * that is refused at once, and messages that nobody took are dropped, their descriptors closed.
   */
  close(): Promise<void> {
    this.#closing = true;
    const whenClosed = this.#life.close();
    this.#closeIfDone();
    return whenClosed;
  }

  /** Closes at once. Sends that wait reject with `error` or `ERR_FDPASSER_CLOSED`, their descriptors the caller's again. */
  destroy(error?: Error): void {
    if (error === undefined) this.#life.finish('destroy() was called');
    else this.#life.fail(error);
  }

  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ---- sending

  #fill(): number {
    this.#load ??= this.#prepare();
    if (this.#load !== undefined) return this.#load.shipment.fill();
    this.#closeIfDone(); // the last in line may have been too large for the peer
    return 0;
  }

  /** The next shipment: hello, then what was taken, and as many messages as the peer's window and one call hold. */
  #prepare(): Load | undefined {
    const draft = new Draft(this.#packets);
    const messages: Load['messages'] = [];
    if (!this.#greeted) draft.add(encodeHello(this.#hello), []);
    this.#greeted = true;
    if (this.#told !== this.#taken) draft.add(encodeTaken(this.#taken), []);
    this.#told = this.#taken;
    for (let next = this.#departure(); next && draft.length < SHIPMENT_BYTES; next = this.#departure()) {
      this.#sends.remove(next);
      const several = next.fds.length > FRAME_FDS;
      if (several) {
        const error = badDescriptor(next);
        if (error !== undefined) {
          giveBack(next, error);
          continue;
        }
      }
      const at = draft.length;
      let taken = 0;
      for (const { bytes, fds } of next.depart()) {
        draft.add(bytes, next.fds.slice(taken, taken + fds));
        taken += fds;
      }
      this.#account(next, 1);
      this.#untaken.push(next);
      messages.push({ departing: next, at, end: draft.length });
      if (this.#singly > 0) {
        this.#singly--;
        break;
      }
      // A descriptor that the kernel refuses must find no message half sent. So one whose descriptors take several calls
      // of the kernel is looked at first, and those of the next do not travel with its last.
      if (several) break;
    }
    return draft.length === 0 ? undefined : { shipment: draft.seal(), messages };
  }

  /** The first message in line if it fits into the peer's window. One always does when nothing else is there. */
  #departure(): Departing | undefined {
    if (this.#peer === undefined) return undefined;
    const { maxFds, window } = this.#peer;
    for (let next = this.#sends.first; next?.ready(this.#link); next = this.#sends.first) {
      const refusal = next.refusal ?? beyond(next, this.#peer);
      if (refusal === undefined) {
        const fits = this.#untakenBytes + next.size <= window && this.#untakenFds + next.fds.length <= maxFds;
        return fits || this.#untaken.length === 0 ? next : undefined;
      }
      this.#sends.shift();
      giveBack(next, refusal);
    }
    return undefined;
  }

  #account(departing: Departing, sign: 1 | -1): void {
    this.#untakenBytes += sign * departing.size;
    this.#untakenFds += sign * departing.fds.length;
    if (departing.confirm) this.#unconfirmed += sign;
  }

  #sent(messages: number, tail: number): void {
    const { shipment, messages: aboard } = this.#load!;
    shipment.sent(messages, tail);
    while (aboard.length > 0 && aboard[0]!.end <= shipment.offset) {
      const { departing } = aboard.shift()!;
      if (!departing.confirm) settle(departing);
    }
    if (!shipment.done) return;
    this.#load = undefined;
    if (this.#ending === 'heard') this.#dropUnconfirmed(peerClosed());
    this.#closeIfDone();
  }

  /** The kernel will not have a descriptor; which, it does not say. */
  #refused(error: Error): boolean {
    const { shipment, messages } = this.#load!;
    // In the middle of a message, which can be neither finished nor taken back, or in a word to the peer.
    if (messages[0]?.at !== shipment.offset) return false;
    this.#load = undefined;
    for (const { departing } of messages.toReversed()) {
      this.#untaken.pop();
      this.#account(departing, -1);
      departing.turnBack();
      this.#sends.unshift(departing);
    }
    if (messages.length > 1) this.#singly = messages.length;
    else giveBack(this.#sends.shift()!, error);
    this.#closeIfDone();
    return true;
  }

  /** The application there has taken so many messages in all. */
  #confirmed(total: number): void {
    const newly = (total - this.#takenThere) >>> 0;
    const there = this.#untaken.length - (this.#load?.messages.length ?? 0);
    if (newly > there) throw new FramingError(`it says that it took ${newly} messages of ${there}`);
    this.#takenThere = total;
    for (const departing of this.#untaken.splice(0, newly)) {
      this.#account(departing, -1);
      if (departing.confirm) settle(departing);
    }
    this.#link.send();
    this.#closeIfDone();
  }

  /** What was sent whole may still be confirmed, as long as there is something to receive. */
  #dropUnsent(error: Error): void {
    const aboard = this.#load?.messages ?? [];
    this.#load = undefined;
    this.#untaken.length -= aboard.length;
    for (const { departing } of aboard) {
      this.#account(departing, -1);
      giveBack(departing, error);
    }
    this.#dropQueue(error);
  }

  #dropQueue(error: Error): void {
    for (let next = this.#sends.shift(); next; next = this.#sends.shift()) giveBack(next, error);
  }

  /** Nobody will confirm what was sent whole. */
  #dropUnconfirmed(error: Error): void {
    for (const departing of this.#untaken.splice(0, this.#untaken.length - (this.#load?.messages.length ?? 0))) {
      this.#account(departing, -1);
      if (departing.confirm) giveBack(departing, error);
    }
  }

  #cannotSend(error: Error): boolean {
    this.#cutShort = this.#sends.length > 0 || (this.#load?.messages.length ?? 0) > 0;
    this.#life.cannotSend(error, this.#cutShort);
    return this.#cutShort;
  }

  /**
   * Closes when all is done that `close` waits for. Where that is confirmations alone, the peer is told by the end of this
   * direction that nothing of its own is taken any more, lest two that close wait for each other's confirmations.
   */
  #closeIfDone(): void {
    this.#life.closeIfDone();
    if (this.#closing && this.#sends.length === 0 && this.#load === undefined && !this.#untold) this.#link.endSending();
  }

  // ---- receiving

  #received(messages: number): void {
    let broken: Error | undefined;
    try {
      for (let i = 0, next = 0; i < messages; i++) {
        const end = next + batch.count[i]!;
        while (next < end) this.#fds.push(batch.fd[next++]!);
      }
      const found: Incoming[] = [];
      try {
        this.#reader.push(ROOM.subarray(0, batch.size[0]), found);
      } finally {
        for (const incoming of found) this.#take(incoming);
      }
      if (!this.#packets) this.#stride = Math.min(Math.max(this.#reader.missing, SHORT), ROOM.length);
      const { size, fds } = this.#reader.pending;
      if (size > 0) this.#checkWindow(size, fds);
      const unclaimed = this.#fds.length - fds;
      if (unclaimed > FRAME_FDS) throw new FramingError(`it sent ${unclaimed} descriptors with no message`);
    } catch (error) {
      broken = error instanceof FramingError ? protocolBroken(error.message) : (error as Error);
    }
    this.#life.deliver();
    if (broken !== undefined) this.#life.broken(broken);
  }

  #take(incoming: Incoming): void {
    switch (incoming.type) {
      case 'hello':
        this.#clock.stop();
        this.#peer = incoming.hello;
        if (this.#peer.codec !== this.#hello.codec) throw codecsDiffer(this.#codec, codecName(this.#peer.codec));
        this.#link.send();
        return;
      case 'taken':
        this.#confirmed(incoming.count);
        return;
      case 'message':
        this.#arrived(incoming.body);
    }
  }

  #arrived({ value, own, fds, unread, size }: Body): void {
    if (this.#fds.length < fds) throw new FramingError(`a message of ${fds} descriptors came with ${this.#fds.length}`);
    this.#checkWindow(size, fds);
    this.#waiting++;
    this.#waitingBytes += size;
    this.#waitingFds += fds;
    const owned = this.#fds.splice(0, fds).map(ownReceived);
    let decoded: unknown;
    try {
      decoded = this.#coder.decode(value, own);
    } catch (error) {
      OwnedFd.closeAll(owned);
      this.#passOver({ size, fds }, error as Error);
      return;
    }
    for (const { index, bytes } of unread) setUnread(owned[index]!, bytes);
    this.#last = { message: new Message(decoded as T, owned), size, fds, unreadable: [] };
    this.#life.put(this.#last);
  }

  /** The frames around it are sound, so it concerns this message alone. */
  #passOver(weight: Weight, error: Error): void {
    if (this.#last === undefined) this.#count(weight);
    else this.#last.unreadable.push(weight);
    if (this.listenerCount('unreadable') > 0)
      process.nextTick(() => this.emit('unreadable', unreadable(this.#codec, error)));
    else if (!this.#warned) {
      this.#warned = true;
      process.emitWarning(
        `${unreadable(this.#codec, error).message}. Listen for 'unreadable' to hear of each`,
        'FdPasserWarning',
      );
    }
  }

  #count({ size, fds }: Weight): void {
    this.#waiting--;
    this.#waitingBytes -= size;
    this.#waitingFds -= fds;
    if (this.#handedOut++ === 0) setImmediate(this.#countTaken);
  }

  /** Whether the application here has taken something that the peer does not know of. */
  get #untold(): boolean {
    return this.#handedOut > 0 || this.#told !== this.#taken;
  }

  /**
   * The application runs after all that is queued for this tick. Told before that, a peer would believe what is not so if
   * this process died in between.
   */
  readonly #countTaken = (): void => {
    this.#taken = (this.#taken + this.#handedOut) >>> 0;
    this.#handedOut = 0;
    this.#link.send();
  };

  /** Of a message, or the part of one that is here. */
  #checkWindow(size: number, fds: number): void {
    const { window, maxFds } = this.#hello;
    if (this.#waiting > 0 && (this.#waitingBytes + size > window || this.#waitingFds + fds > maxFds))
      throw new FramingError('it sent more than the window allows');
  }

  #peerEnded(): void {
    this.#ending = 'heard';
    this.#cutShort ||= this.#sends.length > 0 || this.#untaken.length > 0;
    this.#dropUnconfirmed(peerClosed());
    this.#dropQueue(peerClosed());
    this.#closeIfDone();
  }

  /**
   * A peer that closes does not wait for what it would not take, which the socket reports as an error. It is one when
   * messages are lost by it, or the peer has not ended.
   */
  #ended(error: NodeJS.ErrnoException | undefined): void {
    const lost = this.#cutShort || this.#untaken.length > 0 || this.#sends.length > 0;
    const inOrder = this.#ending === 'heard' && !lost && PEER_GONE.has(-(error?.errno ?? 0));
    this.#ending = 'over';
    if (error?.code === 'EMSGSIZE' && error.syscall === 'recvmsg')
      this.#life.ended(protocolBroken('it sent a packet longer than a frame'));
    else if (this.#reader.unfinished) this.#life.ended(protocolBroken('it ended in the middle of a message'));
    else this.#life.ended(inOrder ? undefined : error);
  }

  // ---- what others see of it

  #alive() {
    return {
      what: 'channel',
      unsent: () => this.#sends.length > 0 || this.#load !== undefined || this.#unconfirmed > 0 || this.#untold,
      asked: () => this.#link.receive(),
      closing: () => this.#link.check(),
      taken: (arrived: Arrived<T>) => {
        if (this.#last === arrived) this.#last = undefined;
        this.#count(arrived);
        for (const weight of arrived.unreadable) this.#count(weight);
      },
      discard: ({ message }: Arrived<T>) => message[Symbol.dispose](),
      dropUnsent: (error: Error) => this.#dropUnsent(error),
      dropAll: (error: Error) => {
        this.#dropUnconfirmed(error);
        this.#dropUnsent(error);
      },
      disconnect: () => {
        this.#ending = 'over';
        this.#clock.stop();
        this.#link.destroy();
        for (const fd of this.#fds.splice(0)) addon.close(fd);
      },
    };
  }

  #owner(): LinkOwner {
    // oxlint-disable-next-line typescript/no-this-alias -- for the getter
    const channel = this;
    return {
      what: 'channel',
      get bytes() {
        return channel.#load!.shipment.rest;
      },
      unsent: () => this.#sends.length > 0 || this.#load !== undefined,
      fill: () => this.#fill(),
      sent: (messages, tail) => this.#sent(messages, tail),
      refused: (error) => this.#refused(error),
      cannotSend: (error) => this.#cannotSend(error),
      room: ROOM,
      get stride() {
        return channel.#stride;
      },
      wanted: () => 1,
      awaits: () => this.#life.wanted > 0 || this.#sends.length > 0 || this.#unconfirmed > 0,
      received: (messages) => this.#received(messages),
      exhausted: (unheard) => {
        this.#clock.standStill();
        this.#life.emitLater('exhausted', unheard);
      },
      hopeless: () => this.#clock.goOn(),
      resumed: () => {
        this.#clock.goOn();
        this.#life.emitLater('resumed');
      },
      peerEnded: () => this.#peerEnded(),
      mayStillSend: () => this.#load !== undefined || this.#untold || this.#waiting > 0,
      ended: (error) => this.#ended(error),
    };
  }
}

function peerClosed(): Error {
  return closed('channel', 'the peer closed its end');
}

function badDescriptor(departing: Departing): Error | undefined {
  const result = departing.fds.map((fd) => addon.check(fd.number)).find((result) => result < 0);
  return result === undefined ? undefined : linkError(result, 'sendmsg');
}

/** The error of a message that the peer would not take. */
function beyond({ valueLength, unreadLength, fds }: Departing, { maxMessageBytes, maxFds }: Hello): Error | undefined {
  if (valueLength > maxMessageBytes) return tooLarge(`${valueLength} bytes`, maxMessageBytes, 'maxMessageBytes');
  if (unreadLength > UNREAD_BYTES) return tooMuchUnread(unreadLength, UNREAD_BYTES);
  if (fds.length > maxFds) return tooLarge(`${fds.length} descriptors`, maxFds, 'maxFds');
  return undefined;
}

function settle(departing: Departing): void {
  for (const fd of departing.fds) fd.letGo();
  departing.resolve();
}

function giveBack(departing: Departing, error: Error): void {
  for (const fd of departing.fds) fd.unsent();
  departing.reject(error);
}
