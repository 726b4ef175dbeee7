import type { Custody } from '../descriptor/custody.js';
import { Counters, type WireStats } from './counters.js';
import { Link } from './link.js';

/** The events that passers, channels and streams have in common. */
export interface SessionEvents {
  /** An error has broken it. Emitted only if there is a listener. */
  error: [NodeJS.ErrnoException];
  /** It is closed, for whatever reason. The descriptors that it still had are closed or given back. */
  close: [];
  /** This process has no free descriptor slot for what the peer sent, which stays in the kernel. */
  exhausted: [];
  /** There is room again. */
  resumed: [];
}

/** Anything that emits these events, and maybe others. */
export interface Emitter {
  emit(event: string, ...args: unknown[]): boolean;
  listenerCount(event: string): number;
}

/**
 * The owner of a link. It has the queues, and the link tells it what became of their entries. The link calls these
 * methods. Those that are not abstract do what most owners need.
 */
export abstract class LinkOwner {
  /** Set when it has been started. */
  protected link: Link | undefined;
  /** The object that the application has: an FdPasser, FdChannel or FdStream. */
  readonly emitter: Emitter | undefined;

  /** Without an emitter it must not receive anything. */
  constructor(emitter?: Emitter) {
    this.emitter = emitter;
  }

  /** Takes the socket over. If it throws, the caller still owns the socket. */
  start(socket: Custody): void {
    this.link = new Link(socket, this);
  }

  /** What its link has carried. It can be read after the end too. */
  get carried(): WireStats {
    return this.link?.carried ?? new Counters();
  }

  /** `'passer'`, `'channel'` or `'stream'`, for messages. */
  abstract get what(): string;

  // ---- sending

  /** The bytes of the messages that `fill` described, one message after the other. */
  abstract get bytes(): Uint8Array;
  /** Whether anything is still to be sent, ready or not. */
  abstract unsent(): boolean;
  /** Describes the next messages to send in the batch. Returns how many there are. */
  abstract fill(): number;
  /**
   * The kernel has taken this many of them: each one whole, except that it may have taken only `tail` bytes of the last
   * one. The descriptors of that one went with these bytes.
   */
  abstract sent(messages: number, tail: number): void;

  /** The kernel refuses the first of them as it is. Returns whether the link can go on without it. */
  refused(_error: Error): boolean {
    return false;
  }

  /**
   * The kernel will take nothing more, but there may still be something to receive. Returns whether anything is lost by
   * that.
   */
  abstract cannotSend(error: Error): boolean;

  // ---- receiving

  /** The memory for received bytes. Each message gets `stride` bytes of it, and its length is a multiple of that. */
  abstract get room(): Uint8Array;
  abstract get stride(): number;
  /** How many more descriptors (or messages, for some owners) are asked for. */
  abstract wanted(): number;

  /** Whether the process must stay alive for what will be received. */
  awaits(): boolean {
    return this.wanted() > 0;
  }

  /** Whether the process must stay alive until there is room for what is sent. */
  holds(): boolean {
    return true;
  }

  /** The batch and the room hold this many messages. From now on the owner owns their descriptors. */
  abstract received(messages: number): void;

  /**
   * No slot is free for what the peer sent, which stays in the kernel. Calls `unheard` if the application has no
   * listener for that.
   */
  exhausted(unheard: () => void): void {
    process.nextTick(() => {
      if (this.emitter?.emit('exhausted') !== true) unheard();
    });
  }

  /** There can never be as many free slots as it needs. */
  hopeless(): void {}

  resumed(): void {
    process.nextTick(() => this.emitter?.emit('resumed'));
  }

  // ---- the end

  /**
   * The peer will send nothing more. If the owner may still have something to send, the link goes on; otherwise it
   * ends.
   */
  peerEnded(): void {}

  mayStillSend(): boolean {
    return true;
  }

  /**
   * The link has ended and its socket is closed, because the peer ended in order or an error broke the link. Everything
   * that the peer had sent was received.
   */
  abstract ended(error: Error | undefined): void;
}
