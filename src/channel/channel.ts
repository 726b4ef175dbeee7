import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { InspectOptions } from 'node:util';
import { ABORTABLE, abortable, NO_OPTIONS, type Abortable } from '../common/abort.js';
import { checkBoolean, checkInteger, checkOptions, pick, type Names } from '../common/arguments.js';
import { INSPECT, inspected, type Inspect } from '../common/inspect.js';
import { iterate } from '../common/iterate.js';
import { given, type FdLike } from '../descriptor/fd-like.js';
import { dropListenerTable } from '../descriptor/node-internals.js';
import { CONNECT_OPTIONS, connectWith, type ConnectOptions } from '../endpoint/connect.js';
import { inherited, SPAWN_OPTIONS, spawnWith, type SpawnOptions } from '../endpoint/spawn.js';
import { noReplyWithin } from '../errors.js';
import type { OnError } from '../wire/session.js';
import { takeSocket } from '../wire/socket.js';
import { LONGEST_DELAY } from '../common/timers.js';
import { coderOf, type Codec, type Received, type Sent } from './codec.js';
import type { Departing, Order } from './departing.js';
import { CLOSES, CONFIRMS, REQUESTS, shared } from './frames.js';
import type { Message } from './message.js';
import type { Arrived } from './receiver.js';
import { ChannelSession, type ChannelEvents, type Terms } from './session.js';
import type { ChannelStats } from './stats.js';

export interface FdChannelOptions<C extends Codec = Codec> {
  /** How values become bytes. It must be the same at both ends. Default `'json'`. */
  codec?: C | undefined;
  /** The largest value that is received, in bytes. Default 64 KiB, and 16 MiB for the codec `'bytes'`. */
  maxMessageBytes?: number | undefined;
  /**
   * The most descriptors in one received message, and in all received messages together that nobody has taken yet.
   * Default 1024.
   */
  maxFds?: number | undefined;
  /**
   * How many bytes of received messages may wait here for somebody to take them, counting 8 more for each message.
   * Beyond that the peer must wait. Default 65536.
   */
  highWaterMark?: number | undefined;
  /** How long to wait for the peer's hello, in milliseconds. Default 10000. */
  helloTimeout?: number | undefined;
  /**
   * Called once when the channel shuts down by itself: with the error, or with `undefined` if the peer ended in order.
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
  /** Options of this process's channel. */
  channel?: FdChannelOptions<C> | undefined;
}

const SPAWN: Names<FdChannelSpawnOptions> = { ...SPAWN_OPTIONS, channel: true };

export interface ChannelSendOptions extends Abortable {
  /**
   * Whether the descriptors stay open here, and stay the caller's. Default false: they are closed when they are sent.
   */
  keepOpen?: boolean | undefined;
  /**
   * Whether the send resolves only when the application at the other end has taken the message. `signal` does not end
   * that wait; `destroy()` and the end of the peer do. Default false.
   */
  confirm?: boolean | undefined;
}

const SEND: Names<ChannelSendOptions> = { ...ABORTABLE, keepOpen: true, confirm: true };

export interface RequestOptions extends Abortable {
  /**
   * Whether the descriptors stay open here, and stay the caller's. Default false: they are closed when the reply comes.
   */
  keepOpen?: boolean | undefined;
  /** How long to wait for the reply, in milliseconds. Default: until it comes or the peer ends. */
  timeout?: number | undefined;
}

const REQUEST: Names<RequestOptions> = { ...ABORTABLE, keepOpen: true, timeout: true };

const MAX_UINT32 = 0xffff_ffff;

/**
 * Sends and receives messages with descriptors beside them, in order and in both directions, over an AF_UNIX stream or
 * seqpacket socket.
 *
 * Both ends begin with a hello, so that a program with another protocol is recognized. Each end then receives by
 * itself, so that two ends that only send never wait for each other for ever. Messages that nobody has taken wait here.
 * If they have more than `highWaterMark` bytes or `maxFds` descriptors, further ones wait at the sender.
 *
 * The event loop stays alive while something is waited for: a send, a confirmation, a reply or a receive.
 *
 * `Send` and `Receive` are the types of values. If none is given, they are those of the codec `C`.
 */
export class FdChannel<Send = unknown, Receive = Send, C extends Codec = Codec> extends EventEmitter<ChannelEvents> {
  readonly #session: ChannelSession<unknown>;
  #warnedOfLate = false;

  /**
   * Takes over one end of a connected AF_UNIX stream or seqpacket socket, which may also be one of the options. Throws
   * what the constructor of `FdPasser` throws, and `ERR_INVALID_ARG_VALUE` for a datagram socket. The socket is then
   * still the caller's.
   */
  constructor(fh: FdLike, options?: FdChannelOptions<C>);
  constructor(options: FdChannelOptions<C> & { fh: FdLike });
  constructor(first: FdLike | (FdChannelOptions<C> & { fh: FdLike }), second?: FdChannelOptions<C>) {
    super();
    dropListenerTable(this);
    const { name, fh, options } = given<FdLike, FdChannelOptions<C>>(first, second, OPTIONS);
    const terms = termsOf(options);
    this.#session = takeSocket(
      name,
      fh!,
      { types: ['stream', 'seqpacket'] },
      (socket, type) => new ChannelSession(this, socket, type !== 'stream', terms),
    );
  }

  /**
   * Connects to a listening socket. It has the options of `connect` too, and rejects with the errors of `connect` and
   * of the constructor.
   */
  static async connect<Send = unknown, Receive = Send, C extends Codec = Codec>(
    path: string,
    options: FdChannelOptions<C> & ConnectOptions = {},
  ): Promise<FdChannel<Send, Receive, C>> {
    checkOptions(options, CONNECT);
    const own = pick<FdChannelOptions<C>>(options, OPTIONS);
    return connectWith(path, options, (socket) => new this<Send, Receive, C>(socket, own));
  }

  /**
   * Starts a child process that has the other end. The child calls `FdChannel.inherit()` to use it. The child is
   * started by `child_process.spawn`, or `fork`; if it could not be started, `child` emits `'error'`. Throws what these
   * functions throw, and `EMFILE` if there is no free descriptor.
   */
  static spawn<Send = unknown, Receive = Send, C extends Codec = Codec>(
    command: string | URL,
    args: readonly string[] = [],
    options: FdChannelSpawnOptions<C> = {},
  ): { child: ChildProcess; channel: FdChannel<Send, Receive, C> } {
    const { channel: own } = checkOptions(options, SPAWN);
    const { child, end } = spawnWith(command, args, options, (fd) => new this<Send, Receive, C>(fd, own));
    return { child, channel: end };
  }

  /**
   * To be called in a child process. Makes a channel of the socket that the parent gave. `fd` is the socket's place in
   * the parent's `stdio`. Without it, that is the number in `FDPASSER_FD`, which `spawn` of this library sets and which
   * is then deleted from the environment, or else 3. Throws what the constructor throws.
   */
  static inherit<Send = unknown, Receive = Send, C extends Codec = Codec>(
    fd?: number,
    options: FdChannelOptions<C> = {},
  ): FdChannel<Send, Receive, C> {
    return inherited(fd, (number) => new this<Send, Receive, C>(number, options));
  }

  /**
   * Sends a value and descriptors, and takes the descriptors over. Unless `keepOpen`, they are closed here when the
   * kernel has the message, or, with `confirm`, when the application at the other end has taken it.
   *
   * Resolves at that moment. Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (only before the message began to be
   * sent), `ERR_FDPASSER_TOO_LARGE` for the peer's limits, or the system's error. The descriptors are then still the
   * caller's. With `confirm`, a rejection means that the peer ended without saying that it took the message. When the
   * message has begun to be sent, only `destroy()` or the end of the peer ends the wait for that.
   */
  send(value: Sent<Send, C>, fds: readonly FdLike[] = [], options: ChannelSendOptions = NO_OPTIONS): Promise<void> {
    return abortable(options, SEND, (resolve, reject) => {
      const { keepOpen = false, confirm = false } = options;
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
   * Sends a value and descriptors, and resolves with the reply, whose descriptors are the caller's to close. Takes over
   * the descriptors that it sends: they stay open here until it resolves, and are closed then unless `keepOpen`.
   *
   * Rejects with `ERR_FDPASSER_NO_REPLY` if the peer drops the request, `ERR_FDPASSER_TIMEOUT`, an `AbortError`,
   * `ERR_FDPASSER_NO_REQUESTS` if the peer does not know requests, `ERR_FDPASSER_UNREADABLE` if the codec cannot read
   * the reply, and with the errors of `send` with `confirm`. The descriptors are then still the caller's, but the peer
   * may have copies. A reply that comes later is dropped, and its descriptors are closed.
   */
  request(
    value: Sent<Send, C>,
    fds: readonly FdLike[] = [],
    options: RequestOptions = {},
  ): Promise<Message<Received<Receive, C>, Sent<Send, C>>> {
    return abortable(options, REQUEST, (resolve, reject) => {
      const { keepOpen = false, timeout } = options;
      if (timeout !== undefined) checkInteger('options.timeout', timeout, 1, LONGEST_DELAY);
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
      const late = (): void => {
        this.#session.look(); // a busy event loop calls timers before it receives what has been there for long
        abandon(noReplyWithin(timeout!));
      };
      if (timeout !== undefined) timer = setTimeout(late, timeout);
      return abandon;
    });
  }

  /**
   * Warns that an aborted signal cannot take a message back any more. Not if the sender was settled meanwhile, because
   * a program that aborts and then destroys the channel needs no warning.
   */
  #tooLate({ confirm, state }: Departing): void {
    if (this.#warnedOfLate || !confirm || state === 'queued' || state === 'settled') return;
    this.#warnedOfLate = true;
    process.emitWarning(
      'The signal of a send with confirm was aborted after its message had departed. That cannot be taken back: the ' +
        'send waits until the peer takes the message. To end the wait, destroy() the channel or end the peer',
      'FdPasserWarning',
    );
  }

  /**
   * Resolves with the next message, whose descriptors are the caller's to close. This also makes the `confirm` of the
   * peer's send resolve.
   *
   * Rejects with `ERR_FDPASSER_CLOSED`, an `AbortError` (this loses no message), or the error that broke the channel.
   */
  receive(options: Abortable = NO_OPTIONS): Promise<Message<Received<Receive, C>, Sent<Send, C>>> {
    return this.#session.receive(options, messageOf) as Promise<Message<Received<Receive, C>, Sent<Send, C>>>;
  }

  /**
   * The messages as they come, until the peer ends or the channel is closed. Throws the error that breaks the channel.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message<Received<Receive, C>, Sent<Send, C>>> {
    return iterate(
      (signal) => this.receive({ signal }),
      () => this.#session.inOrder,
      () => this.#session.failure,
    );
  }

  /**
   * Sends what is queued, waits for confirmations and replies, and then closes. Nothing more is received: calls that
   * wait for that are refused at once. Messages that nobody took are dropped, and their descriptors are closed.
   */
  close(): Promise<void> {
    return this.#session.close();
  }

  /**
   * Closes at once. Sends that wait reject with `error` or `ERR_FDPASSER_CLOSED`, and their descriptors are the
   * caller's again.
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

function messageOf({ message }: Arrived<unknown>): Message {
  return message;
}

function termsOf(options: FdChannelOptions): Terms {
  const { codec = 'json', maxFds = 1024, highWaterMark = 65_536, helloTimeout = 10_000, onError } = options;
  const coder = coderOf(codec);
  const { maxMessageBytes = coder.mostBytes } = options;
  const hello = shared({
    codec: coder.id,
    capabilities: REQUESTS | CLOSES | CONFIRMS,
    maxMessageBytes: checkInteger('options.maxMessageBytes', maxMessageBytes, 1, MAX_UINT32),
    maxFds: checkInteger('options.maxFds', maxFds, 1, MAX_UINT32),
    window: checkInteger('options.highWaterMark', highWaterMark, 1, MAX_UINT32),
  });
  checkInteger('options.helloTimeout', helloTimeout, 1, LONGEST_DELAY);
  return { coder, hello, helloTimeout, onError };
}
