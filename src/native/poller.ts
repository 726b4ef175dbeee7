import { noSuchPoller } from '../errors.js';
import { runtime } from './runtime.js';

/** What tells of events: libuv on the environment's own loop, or a thread for the whole process. */
export type Poller = 'uv' | 'thread';

/** The one that suits the runtime, or the one that the environment variable `FDPASSER_POLLER` names. */
export function choosePoller(): Poller {
  const wanted = process.env['FDPASSER_POLLER'];
  switch (wanted) {
    case undefined:
    case '':
      return runtime === 'node' ? 'uv' : 'thread';
    case 'uv':
      // Bun has libuv's names, and calling them aborts it; Deno's answer once and late.
      if (runtime !== 'node') throw noSuchPoller(wanted, `${runtime} has no libuv that works`);
      return wanted;
    case 'thread':
      return wanted;
    default:
      throw noSuchPoller(wanted, "there are 'uv' and 'thread'");
  }
}
