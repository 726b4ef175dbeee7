import type { TcpAddress } from '../endpoint/tcp-address.js';

/** Set by a supervisor for its workers: the number of the worker's slot. */
export const VARIABLE = 'FDPASSER_WORKER';

/** Messages of a supervisor. That of a connection carries its descriptor. */
export type ToWorker = { what: 'connection'; listener: string; remote: TcpAddress | undefined } | { what: 'retire' };

/** Messages of a worker. `ended`: how many of its connections have ended in all. `busy`: how busy it says it is. */
export type FromWorker = { what: 'ready' } | { what: 'ended'; count: number } | { what: 'busy'; load: number };
