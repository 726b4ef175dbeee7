import type { TcpAddress } from '../endpoint/tcp-address.js';

/** Set by a supervisor for its workers: the number of the worker's slot. */
export const VARIABLE = 'FDPASSER_WORKER';

/** What a supervisor says. A connection has its descriptor beside it. */
export type ToWorker = { what: 'connection'; listener: string; remote: TcpAddress | undefined } | { what: 'retire' };

/** What a worker says. `ended`: how many of its connections have, in all. `busy`: how busy it is, by its own word. */
export type FromWorker = { what: 'ready' } | { what: 'ended'; count: number } | { what: 'busy'; load: number };
