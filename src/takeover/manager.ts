import { notify, type NotifyState } from '../systemd/notify.js';

/** Tells the service manager, if there is one. That it cannot be told is no reason to stop serving. */
function tell(state: NotifyState): void {
  notify(state).catch((error: Error) =>
    process.emitWarning(`The service manager was not told ${Object.keys(state)[0]!}: ${error.message}`),
  );
}

/** This process is the service from now on, or still. */
export function tellReady(): void {
  tell({ READY: 1, MAINPID: process.pid });
}

/** A successor is on its way. Its READY follows, or that of this process. */
export function tellReloading(): void {
  tell({ RELOADING: 1 });
}

/** Nothing listens any more, and no successor does. */
export function tellStopping(): void {
  tell({ STOPPING: 1 });
}
