import type { OwnedFd } from '../../descriptor/owned-fd.js';
import type { Carried, Carrier } from '../live/index.js';
import type { Json } from '../live/carried.js';
import type { Endpoint } from '../messages.js';

/** What a predecessor handed over under a name. */
export interface Inherited {
  socket: OwnedFd;
  /** Undefined for what a keeper hands out, who also removes the path. */
  endpoint?: Endpoint;
}

/**
 * One server or datagram socket of the program, and what it listens on. Of the processes that share the listening
 * socket, one serves and the others have paused.
 */
export interface Listener {
  readonly name: string;
  /**
   * Whether a successor can have it: it is bound, its address was chosen by the program, and the program has not closed
   * it.
   */
  readonly transferable: boolean;
  readonly endpoint: Endpoint;
  /** Whether this listener is to listen where a predecessor listens. */
  accepts(endpoint: Endpoint): boolean;
  /** Takes or binds the socket to listen on, and does not accept yet. */
  bind(inherited: Inherited | undefined): Promise<void>;
  /**
   * The path at which it listens, if another process could remove it and bind it anew. `bind` then can be called again,
   * and changes nothing when it rejects.
   */
  readonly path?: string | undefined;
  /** Tells the program that this could not be bound: it may listen elsewhere. Throws if it does not handle that. */
  fail?(error: Error): void;
  /** Hears that the program has closed it, before all clients have gone. Returns whether that is so. */
  endIfClosed?(): boolean;
  /** Returns another descriptor of what it has bound, for a keeper, who also removes the path. */
  share(): OwnedFd;
  /** Accepts from now on. */
  serve(): Promise<void>;
  /** Returns another descriptor, for a successor. */
  duplicate(): OwnedFd;
  /** Stops accepting, and keeps the socket. */
  pause(): void;
  /** Accepts again. */
  resume(): void;
  /** No predecessor comes back: the address belongs to this process. */
  keepForGood?(): void;
  /** A successor has it for good: the address no longer belongs to this process. */
  release(): void;
  /** The kinds of live connections of a predecessor that it can take. */
  readonly liveKinds: readonly string[];
  /** Gets one of those. Throws when it cannot; `fd` is then the caller's still. */
  adoptLive(key: number, kind: string, fd: OwnedFd, state: Json): void;
  /** Goes on with it; `late` are its first bytes, or some of them. Throws when it cannot. */
  ownLive(key: number, late: Buffer, more: boolean): void;
  /** The predecessor has ended: goes on with all. */
  ownAllLive(): void;
  /** How connections of the program's own protocol move. */
  carry(carrier: Carrier): void;
  /**
   * Each connection of these kinds, or of all, that moves, when it can go; also those that come from a predecessor
   * until `alone`.
   */
  leaveLive(signal: AbortSignal, alone: Promise<void>, kinds?: readonly string[]): AsyncGenerator<Carried, void>;
  /** Asks clients whose connections do not move to leave, in the way of their protocol. */
  drain(): void;
  /** Resolves when nobody is connected any more. */
  whenGone(): Promise<void>;
  /** Ends the connections that are left. */
  cut(): void;
  /** Closes the program's own object, and its socket. */
  close(): void;
}
