import {
  checkBoolean,
  checkInteger,
  checkOptions,
  invalidType,
  type Names,
  type Settled,
} from '../common/arguments.js';
import type { PeerCredentials } from '../endpoint/credentials.js';
import { LONGEST_DELAY } from '../common/timers.js';

/** What moves to the successor beside the listeners. */
export interface LiveOptions {
  /** Keep-alive connections of `http.Server`, between two requests. Default true. */
  http?: boolean | undefined;
  /** WebSockets of any package, between two frames. Default true. */
  websocket?: boolean | undefined;
}

/** All times are in milliseconds. */
export interface TakeoverOptions {
  /**
   * Decides who may be at the other end, by the credentials that the kernel reports; returns `true` or `false` at once.
   * With it the path is open to all users, and it alone decides. Default: only this process's own effective user.
   */
  allow?: ((peer: PeerCredentials) => boolean) | undefined;
  /**
   * How long the old process can still serve again after this one began to serve. `Infinity`: until `confirm()`.
   * Default 10000.
   */
  probation?: number | undefined;
  /** How long the other process may take for one step. Default 5000. */
  stepTimeout?: number | undefined;
  /** How long a successor may take from MANIFEST to READY. Default 60000. */
  initTimeout?: number | undefined;
  /** How long connections may go on here after a successor has taken over. Default 30000. */
  drainTimeout?: number | undefined;
  /** Whether live connections move to the successor, where they can. Default true. */
  live?: boolean | LiveOptions | undefined;
  /** A predecessor that has not answered for this time is killed (SIGKILL). Default: never. */
  patience?: number | undefined;
}

const LIVE: Names<LiveOptions> = { http: true, websocket: true };
const TAKEOVER: Names<TakeoverOptions> = {
  allow: true,
  probation: true,
  stepTimeout: true,
  initTimeout: true,
  drainTimeout: true,
  live: true,
  patience: true,
};

/** The options as the other files use them. */
export interface Settings {
  readonly allow: ((peer: PeerCredentials) => boolean) | undefined;
  readonly probation: number;
  readonly stepTimeout: number;
  readonly initTimeout: number;
  readonly drainTimeout: number;
  readonly live: Settled<LiveOptions>;
  readonly patience: number | undefined;
}

export function settingsOf(options: TakeoverOptions): Settings {
  const {
    allow,
    probation = 10_000,
    stepTimeout = 5000,
    initTimeout = 60_000,
    drainTimeout = 30_000,
  } = checkOptions(options, TAKEOVER);
  if (allow !== undefined && typeof allow !== 'function') throw invalidType('options.allow', 'a function', allow);
  const { live = true, patience } = options;
  return {
    allow,
    probation: probation === Infinity ? Infinity : checkInteger('options.probation', probation, 0, LONGEST_DELAY),
    stepTimeout: checkInteger('options.stepTimeout', stepTimeout, 1, LONGEST_DELAY),
    initTimeout: checkInteger('options.initTimeout', initTimeout, 1, LONGEST_DELAY),
    drainTimeout: checkInteger('options.drainTimeout', drainTimeout, 0, LONGEST_DELAY),
    live: liveOf(live),
    patience: patience === undefined ? undefined : checkInteger('options.patience', patience, 1, LONGEST_DELAY),
  };
}

function liveOf(live: boolean | LiveOptions): Settled<LiveOptions> {
  if (typeof live === 'boolean') return { http: live, websocket: live };
  if (typeof live !== 'object') throw invalidType('options.live', 'a boolean or an object', live);
  const { http = true, websocket = true } = checkOptions(live, LIVE, 'options.live');
  checkBoolean('options.live.http', http);
  checkBoolean('options.live.websocket', websocket);
  return { http, websocket };
}
