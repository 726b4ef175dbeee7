import { noSuchPoller } from '../errors.js';
import { runtime } from './runtime.js';

/** The source of events: libuv on the environment's own loop, or one thread for the whole process. */
export type Poller = 'uv' | 'thread';

/**
 * The poller that the environment variable `FDPASSER_POLLER` names, or else the one that suits the runtime. Throws
 * `ERR_FDPASSER_POLLER` if it names none, or one that does not work here.
 */
export function choosePoller(): Poller {
  const wanted = process.env['FDPASSER_POLLER'];
  switch (wanted) {
    case undefined:
    case '':
      return runtime === 'node' ? 'uv' : 'thread';
    case 'uv':
      // Bun has libuv's functions, and aborts when one is called. Deno's report an event once, and late.
      if (runtime !== 'node') throw noSuchPoller(wanted, `${runtime} has no working libuv`);
      return wanted;
    case 'thread':
      return wanted;
    default:
      throw noSuchPoller(wanted, "must be 'uv' or 'thread'");
  }
}
