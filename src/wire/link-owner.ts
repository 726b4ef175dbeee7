import type { Custody } from '../descriptor/custody.js';
import { Counters, type WireStats } from './counters.js';
import { Link } from './link.js';

/** Events that passers and channels have in common. */
export interface SessionEvents {
  /** It broke. Emitted only if someone listens. */
  error: [NodeJS.ErrnoException];
  /** It is closed, for whatever reason, and its descriptors with it. */
  close: [];
  /** This process has no free descriptor slot for what the peer sent. It waits in the kernel. */
  exhausted: [];
  /** There was room again. */
  resumed: [];
}

/** Whatever has these events, and maybe others. */
export interface Emitter {
  emit(event: string, ...args: unknown[]): boolean;
  listenerCount(event: string): number;
}

/**
 * What stands on a link: it has the queues, and is told what became of them. The methods are the link's to call; those
 * that are not abstract do what is usual.
 */
export abstract class LinkOwner {
  /** Once it was started. */
  protected link: Link | undefined;
  /** What the application has: its FdPasser, FdChannel or FdStream. */
  readonly emitter: Emitter | undefined;

  /** Without an emitter, nothing is received. */
  constructor(emitter?: Emitter) {
    this.emitter = emitter;
  }

  /** Takes the socket over, unless it throws. */
  start(socket: Custody): void {
    this.link = new Link(socket, this);
  }

  /** What its link has carried, also once it is over. */
  get carried(): WireStats {
    return this.link?.carried ?? new Counters();
  }

  /** `'passer'`, `'channel'` or `'stream'`, for messages. */
  abstract get what(): string;

  // ---- sending

  /** The bytes of the messages that `fill` described, one after the other. */
  abstract get bytes(): Uint8Array;
  /** Whether something is to be sent, though its turn may not have come. */
  abstract unsent(): boolean;
  /** Describes in the batch the next messages to send; returns how many. */
  abstract fill(): number;
  /** The kernel has that many of them: all of each but, of the last, `tail` bytes. Its descriptors went with those. */
  abstract sent(messages: number, tail: number): void;

  /** The kernel will not have the first of them, as it is. Returns whether the link goes on without it. */
  refused(_error: Error): boolean {
    return false;
  }

  /**
   * The kernel will have nothing more, though something may still be there to receive. Returns whether that loses
   * anything.
   */
  abstract cannotSend(error: Error): boolean;

  // ---- receiving

  /**
   * Where received bytes go: those of each message to a stretch of `stride` bytes, of which the room has a whole
   * number.
   */
  abstract get room(): Uint8Array;
  abstract get stride(): number;
  /** How many more descriptors, or messages, are asked for. */
  abstract wanted(): number;

  /** Whether the process must live on for what is to be received. */
  awaits(): boolean {
    return this.wanted() > 0;
  }

  /** The batch and the room hold that many messages. Their descriptors are the owner's from now on. */
  abstract received(messages: number): void;

  /**
   * No slot is free for what the peer sent. It waits in the kernel. Calls `unheard` if the application does not listen
   * to that.
   */
  exhausted(unheard: () => void): void {
    process.nextTick(() => {
      if (this.emitter?.emit('exhausted') !== true) unheard();
    });
  }

  /** There never will be as many slots as it needs. */
  hopeless(): void {}

  resumed(): void {
    process.nextTick(() => this.emitter?.emit('resumed'));
  }

  // ---- the end

  /** The peer will send nothing more. The link ends with that unless there may still be something to send. */
  peerEnded(): void {}

  mayStillSend(): boolean {
    return true;
  }

  /**
   * The link is over, its socket closed: the peer ended in order, or an error broke it. Everything it had sent was
   * received.
   */
  abstract ended(error: Error | undefined): void;
}
