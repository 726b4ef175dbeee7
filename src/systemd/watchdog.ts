import { wholeNumber } from './environment.js';
import { tell } from './notify.js';

/**
 * Tells the service manager that this process is well, twice in each interval that the manager expects (`WatchdogSec=`
 * in systemd.service(5)), from now on until the result is disposed. It runs on the event loop, so the manager notices
 * when the loop hangs. It does not keep the process alive, and does nothing where no manager expects it.
 *
 * Throws `ERR_FDPASSER_ENVIRONMENT` for a `WATCHDOG_USEC` or `WATCHDOG_PID` that is not a number. When a message cannot
 * be sent, there is one process warning: the manager will act when it hears nothing.
 */
export function watchdog(): Disposable {
  const microseconds = wholeNumber('WATCHDOG_USEC', 1);
  const pid = wholeNumber('WATCHDOG_PID', 1) ?? process.pid;
  if (microseconds === undefined || pid !== process.pid) return { [Symbol.dispose]() {} };
  let stop: AbortController;
  let warned = false;
  const tellAgain = (): void => {
    stop = new AbortController();
    const { signal } = stop;
    tell({ WATCHDOG: 1 }, [], signal, false).catch((error: Error) => {
      if (warned || signal.aborted) return;
      warned = true;
      process.emitWarning(`The service manager cannot be told that this process is well: ${error.message}`);
    });
  };
  tellAgain();
  const timer = setInterval(
    () => {
      stop.abort();
      tellAgain();
    },
    Math.max(2, microseconds / 2000),
  ).unref();
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      stop.abort();
    },
  };
}
