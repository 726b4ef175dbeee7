import { builtin } from '../common/lazy-modules.js';
import { noTakeoverInCluster } from '../errors.js';
import { refuseIn } from '../native/runtime.js';
import { address } from '../endpoint/address.js';
import { anchored } from '../endpoint/path.js';
import { settingsOf, type TakeoverOptions } from './options.js';
import { Serving } from './serving.js';
import { meet } from './successor.js';

/** Milliseconds from one attempt to take the control path to the next. */
const PAUSE = 20;

/**
 * Begins to take over from the process that serves at this control path, or serves there as the first. `path` is that
 * of a Unix socket, in a folder that only those who may replace the server can write to.
 *
 * Rejects with `ERR_FDPASSER_BUSY` when another process already takes over; with `ERR_FDPASSER_ROLLED_BACK` when the
 * process that serves there cannot hand over; with `ERR_FDPASSER_STEP_TIMEOUT` or `ERR_FDPASSER_GONE` when it does not
 * answer, or ends; with `EACCES` when another user serves there; with `ERR_FDPASSER_CLUSTER`, `ERR_FDPASSER_RUNTIME` or
 * an argument error. The old process then serves as before.
 */
export async function takeover(path: string, options: TakeoverOptions = {}): Promise<Serving> {
  address(path, 'bind');
  const at = anchored(path);
  const settings = settingsOf(options);
  refuseIn(['bun', 'deno'], 'takeover()', 'Its servers cannot stop accepting and go on later: run the program on Node');
  if (builtin.cluster.isWorker) throw noTakeoverInCluster();
  const deadline = performance.now() + settings.stepTimeout;
  for (;;) {
    const succession = await meet(at, settings);
    try {
      return new Serving(at, settings, succession);
    } catch (error) {
      // Another process was faster.
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
}
