import { noSuchPoller } from '../errors.js';

/** What tells of events: libuv on the environment's own loop, or a thread for the whole process. */
export type Poller = 'uv' | 'thread';

/**
 * The one for this runtime, or the one that the environment variable `FDPASSER_POLLER` names. Bun and Deno are told by
 * their versions: they export libuv's names too, and calling those aborts Bun.
 */
export function choosePoller(): Poller {
  const foreign = ['bun', 'deno'].find((name) => name in process.versions);
  const wanted = process.env['FDPASSER_POLLER'];
  switch (wanted) {
    case undefined:
    case '':
      return foreign === undefined ? 'uv' : 'thread';
    case 'uv':
      if (foreign !== undefined) throw noSuchPoller(wanted, `${foreign} has no libuv that works`);
      return wanted;
    case 'thread':
      return wanted;
    default:
      throw noSuchPoller(wanted, "there are 'uv' and 'thread'");
  }
}
