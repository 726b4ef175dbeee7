import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { InspectOptions } from 'node:util';
import { ABORTABLE, abortable, type Abortable } from '../common/abort.js';
import { checkBoolean, checkInteger, checkOptions, type Names } from '../common/arguments.js';
import { INSPECT, inspected, type Inspect } from '../common/inspect.js';
import { iterate } from '../common/iterate.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { CONNECT_OPTIONS, connectWith, type ConnectOptions } from '../endpoint/connect.js';
import { inherited, spawnWith, type SpawnOptions } from '../endpoint/spawn.js';
import { noReplyWithin } from '../errors.js';
import type { OnError } from '../wire/session.js';
import { takeSocket } from '../wire/socket.js';
import { coderOf, type Codec, type Received, type Sent } from './codec.js';
import type { Departing, Order } from './departing.js';
import { CLOSES, CONFIRMS, REQUESTS } from './frames.js';
import type { Message } from './message.js';
import { ChannelSession, type ChannelEvents, type Terms } from './session.js';
import type { ChannelStats } from './stats.js';

export interface FdChannelOptions<C extends Codec = Codec> {
  /** How values become bytes; must be the same at both ends. Default `'json'`. */
  codec?: C | undefined;
  /** The largest value to receive, in bytes. Default 64 KiB, and 16 MiB for the codec `'bytes'`. */
  maxMessageBytes?: number | undefined;
  /** The most descriptors to receive in one message, and in all messages that nobody has taken yet. Default 1024. */
  maxFds?: number | undefined;
  /**
   * How many bytes of messages, 8 more for each, may be here that nobody has taken yet; then the peer waits. Default
   * 65536.
   */
  highWaterMark?: number | undefined;
  /** How long to wait for the peer's first word, in milliseconds. Default 10000. */
  helloTimeout?: number | undefined;
  /**
   * Called once when the channel shuts down by itself: with the error, or with `undefined` when the peer ended in
   * order.
   */
  onError?: OnError | undefined;
}

const OPTIONS: Names<FdChannelOptions> = {
  codec: true,
  maxMessageBytes: true,
  maxFds: true,
  highWaterMark: true,
  helloTimeout: true,
  onError: true,
};
const CONNECT: Names<FdChannelOptions & ConnectOptions> = { ...OPTIONS, ...CONNECT_OPTIONS };

export interface FdChannelSpawnOptions<C extends Codec = Codec> extends SpawnOptions {
  /** Of the channel here. */
  channel?: FdChannelOptions<C> | undefined;
}

export interface ChannelSendOptions extends Abortable {
  /** Leave the descriptors open here; they stay the caller's. Default false: they are closed. */
  keepOpen?: boolean | undefined;
  /**
   * Resolve only when the application at the other end has taken the message. `signal` does not end that wait:
   * `destroy()` does, or the end of the peer.
   */
  confirm?: boolean | undefined;
}

const SEND: Names<ChannelSendOptions> = { ...ABORTABLE, keepOpen: true, confirm: true };

export interface RequestOptions extends Abortable {
  /** Leave the descriptors open here; they stay the caller's. Default false: they are closed when the reply comes. */
  keepOpen?: boolean | undefined;
  /** How long to wait for the reply, in milliseconds. Default: as long as the peer lives. */
  timeout?: number | undefined;
}

const REQUEST: Names<RequestOptions> = { ...ABORTABLE, keepOpen: true, timeout: true };

const MAX_UINT32 = 0xffff_ffff;
/** The longest that a timer waits. */
const MAX_DELAY = 0x7fff_ffff;

/**
 * Messages with descriptors beside them, in order, both ways, over an AF_UNIX stream or seqpacket socket.
 *
 * Both ends say hello first, so that a program that speaks something else is found out. Each then receives by itself as
 * much as the other's limits allow, so that two that only send never wait for each other for ever; what nobody has
 * taken waits here, and beyond `highWaterMark` bytes or `maxFds` descriptors with the sender.
 *
 * The event loop lives on while something is waited for: a send, a confirmation, a reply, a receive.
 *
 * `Send` and `Receive` are the types of values. Where none is named, those of the codec `C`.
 */
export class FdChannel<Send = unknown, Receive = Send, C extends Codec = Codec> extends EventEmitter<ChannelEvents> {
  readonly #session: ChannelSession<unknown>;
  #warnedOfLate = false;

  /**
   * Takes over one end of a connected AF_UNIX stream or seqpacket socket. Throws, taking nothing over, as `FdPasser`
   * does, and `ERR_INVALID_ARG_VALUE` for a datagram socket.
   */
  constructor(fh: FdLike, options: FdChannelOptions<C> = {}) {
    super();
    const terms = termsOf(options);
    this.#session = takeSocket(
      'fh',
      fh,
      { types: ['stream', 'seqpacket'] },
      (socket, type) => new ChannelSession(this, socket, type !== 'stream', terms),
    );
  }

  /** Connects to a listening socket, as `connect` does, which see for its options and errors. */
  static async connect<Send = unknown, Receive = Send, C extends Codec = Codec>(
    path: string,
    options: FdChannelOptions<C> & ConnectOptions = {},
  ): Promise<FdChannel<Send, Receive, C>> {
    const { type, signal, timeout, ...own } = checkOptions(options, CONNECT);
    return connectWith(path, { type, signal, timeout }, (socket) => new this<Send, Receive, C>(socket, own));
  }

  /**
   * Starts a child process that has the other end: it calls `FdChannel.inherit()`. `child_process.spawn` starts it, or
   * `fork`, and an `'error'` of `child` tells that it could not. Throws as they do, and `EMFILE` for want of
   * descriptors.
   */
  static spawn<Send = unknown, Receive = Send, C extends Codec = Codec>(
    command: string | URL,
    args: readonly string[] = [],
    options: FdChannelSpawnOptions<C> = {},
  ): { child: ChildProcess; channel: FdChannel<Send, Receive, C> } {
    const { channel: own, ...rest } = checkOptions(options);
    const { child, end } = spawnWith(command, args, rest, (fd) => new this<Send, Receive, C>(fd, own));
    return { child, channel: end };
  }

  /**
   * In a child process: the channel over the socket that its parent gave. It is the one that `spawn` of this library
   * says in the environment (`FDPASSER_FD`, which is taken out then), or the place `fd` in the parent's `stdio`: by
   * default 3.
   */
  static inherit<Send = unknown, Receive = Send, C extends Codec = Codec>(
    fd?: number,
    options: FdChannelOptions<C> = {},
  ): FdChannel<Send, Receive, C> {
    return inherited(fd, (number) => new this<Send, Receive, C>(number, options));
  }

  /**
   * Sends a value and descriptors. Takes the descriptors over: they are closed here once the kernel has the message, or
   * with `confirm` once the application there has taken it; unless `keepOpen`.
   *
   * Resolves at that moment. Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (only before the message began to be
   * sent), `ERR_FDPASSER_TOO_LARGE` for the peer's limits, or the system's error. The descriptors are then still the
   * caller's. With `confirm`, a rejection means that the peer went without saying that it took the message; once that
   * is under way only `destroy()`, or the end of the peer, ends the wait.
   */
  send(value: Sent<Send, C>, fds: readonly FdLike[] = [], options: ChannelSendOptions = {}): Promise<void> {
    return abortable(options, (resolve, reject) => {
      const { keepOpen = false, confirm = false } = checkOptions(options, SEND);
      checkBoolean('options.confirm', confirm);
      const order: Order = { kind: 'message', confirm, resolve: () => resolve(), reject };
      const departing = this.#session.prepare(value, fds, keepOpen, order, () => this.#session.checkSendable());
      this.#session.send(departing);
      return (error) => {
        if (!this.#session.withdraw(departing, error)) setImmediate(() => this.#tooLate(departing));
      };
    });
  }

  /**
   * Sends a value and descriptors, and resolves with the reply, whose descriptors are the caller's to close. Takes
   * those given over: they stay open here until then, and are closed when it resolves, unless `keepOpen`.
   *
   * Rejects with `ERR_FDPASSER_NO_REPLY` when the peer drops the request, `ERR_FDPASSER_TIMEOUT`, an `AbortError`,
   * `ERR_FDPASSER_NO_REQUESTS` when the peer knows none, `ERR_FDPASSER_UNREADABLE` for a reply that the codec cannot
   * read, and as `send` with `confirm`. The descriptors are then still the caller's; the peer may have its copies. A
   * reply that comes later is dropped, its descriptors closed.
   */
  request(
    value: Sent<Send, C>,
    fds: readonly FdLike[] = [],
    options: RequestOptions = {},
  ): Promise<Message<Received<Receive, C>, Sent<Send, C>>> {
    return abortable(options, (resolve, reject) => {
      const { keepOpen = false, timeout } = checkOptions(options, REQUEST);
      if (timeout !== undefined) checkInteger('options.timeout', timeout, 1, MAX_DELAY);
      let timer: NodeJS.Timeout | undefined;
      const order: Order = {
        kind: 'request',
        resolve: (reply) => {
          clearTimeout(timer);
          resolve(reply as Message<Received<Receive, C>, Sent<Send, C>>);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      const request = this.#session.prepare(value, fds, keepOpen, order, () => this.#session.checkAskable());
      this.#session.send(request);
      const abandon = (error: Error): void => this.#session.abandon(request, error);
      if (timeout !== undefined) timer = setTimeout(() => abandon(noReplyWithin(timeout)), timeout);
      return abandon;
    });
  }

  /** A signal cannot take this one back any more; whoever aborts and then destroys needs no word of it. */
  #tooLate({ confirm, state }: Departing): void {
    if (this.#warnedOfLate || !confirm || state === 'queued' || state === 'settled') return;
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
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (no message is lost by it), or the error that broke the
   * channel.
   */
  async receive(options: Abortable = {}): Promise<Message<Received<Receive, C>, Sent<Send, C>>> {
    const { message } = await this.#session.receive(options);
    return message as Message<Received<Receive, C>, Sent<Send, C>>;
  }

  /** Messages as they come, until the peer ends or the channel is closed. Throws the error that breaks it. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message<Received<Receive, C>, Sent<Send, C>>> {
    return iterate(
      (signal) => this.receive({ signal }),
      () => this.#session.inOrder,
      () => this.#session.failure,
    );
  }

  /**
   * Sends what is queued and waits for what is to be confirmed, then closes. Nothing more is received: whoever waits
   * for that is refused at once, and messages that nobody took are dropped, their descriptors closed.
   */
  close(): Promise<void> {
    return this.#session.close();
  }

  /**
   * Closes at once. Sends that wait reject with `error` or `ERR_FDPASSER_CLOSED`, their descriptors the caller's again.
   */
  destroy(error?: Error): void {
    this.#session.destroy(error);
  }

  /** What was carried so far, and what waits now. */
  stats(): ChannelStats {
    return this.#session.stats();
  }

  /** @internal */
  [INSPECT](_depth: number, options: InspectOptions, inspect: Inspect): string {
    const { state, codec } = this.#session;
    const { queued, untaken, waiting, asking, requests, unanswered } = this.stats();
    return inspected(this, { state, codec, queued, untaken, waiting, asking, requests, unanswered }, options, inspect);
  }

  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function termsOf(options: FdChannelOptions): Terms {
  const {
    codec = 'json',
    maxFds = 1024,
    highWaterMark = 65_536,
    helloTimeout = 10_000,
    onError,
  } = checkOptions(options, OPTIONS);
  const coder = coderOf(codec);
  const { maxMessageBytes = coder.mostBytes } = options;
  const hello = {
    codec: coder.id,
    capabilities: REQUESTS | CLOSES | CONFIRMS,
    maxMessageBytes: checkInteger('options.maxMessageBytes', maxMessageBytes, 1, MAX_UINT32),
    maxFds: checkInteger('options.maxFds', maxFds, 1, MAX_UINT32),
    window: checkInteger('options.highWaterMark', highWaterMark, 1, MAX_UINT32),
  };
  checkInteger('options.helloTimeout', helloTimeout, 1, MAX_DELAY);
  return { coder, hello, helloTimeout, onError };
}
