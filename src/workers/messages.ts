import type { Server } from 'node:net';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import type { Json } from '../takeover/live/carried.js';
import type { Shared } from './shared.js';

/** Set by a supervisor for its workers: the number of the worker's slot, and how long it may take to retire. */
export const VARIABLE = 'FDPASSER_WORKER';

/**
 * A live connection, beside it its descriptor. Whoever gets it does nothing with it before `Yours`. `listener` is
 * undefined for the server of all.
 */
export interface Live {
  what: 'live';
  key: number;
  listener?: string | undefined;
  kind: string;
  state: Json;
}

/** That connection is the receiver's. `late`: bytes for its client, in base64; the last unless `more`. */
export interface Yours {
  what: 'yours';
  key: number;
  late: string;
  more: boolean;
}

/** A live connection that no worker has now. */
export interface Moved {
  readonly listener: string | undefined;
  readonly kind: string;
  readonly state: Json;
  readonly fd: OwnedFd;
  /** What is to be sent first. */
  readonly late: Buffer;
}

/** What a supervisor says. */
export type ToWorker =
  /** New connections of one listener, as many as there are descriptors. */
  | { what: 'connections'; listener: string }
  | Live
  | Yours
  /** `live`: the listeners whose live connections move; true: all of them. `most`: how many at a time. */
  | { what: 'retire'; live: string[] | boolean; most?: number };

/** What a worker says. */
export type FromWorker =
  /**
   * Said again when something of it has changed. `serves`: the listeners whose connections it takes; without it, all
   * but `except`. `stays`: while it retires it takes connections that are picked by its pid.
   */
  | { what: 'ready'; serves?: string[] | undefined; except?: string[]; stays?: boolean }
  /** A request, while it retires: it wants no more of those. The reply comes when no more are under way. */
  | { what: 'leave' }
  /** How many of its connections have ended, in all. */
  | { what: 'ended'; count: number }
  /** How busy it is, by its own word. */
  | { what: 'busy'; load: number }
  /** It has no free slot for what it was given, and says so again and again. */
  | { what: 'full' }
  /** A request: its program has called `listen()`. The reply is a `Listened` or a `NotListened`. */
  | { what: 'listen'; at: Shared }
  /** What came of such a request is over: its program has closed the server, say. */
  | { what: 'unlisten'; listener: string }
  /** A connection that it cannot serve: its program has closed the server. */
  | { what: 'back'; listener: string }
  | Live
  | Yours;

export interface Listened {
  listener: string;
  address: ReturnType<Server['address']>;
}

export interface NotListened {
  error: { message: string; code?: string; errno?: number; syscall?: string; address?: string; port?: number };
}
