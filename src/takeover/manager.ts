import { notify, type NotifyState } from '../systemd/notify.js';

/** Tells the service manager, if there is one. A failure to do so is no reason to stop serving. */
function tell(state: NotifyState): void {
  notify(state).catch((error: Error) =>
    process.emitWarning(`The service manager was not told ${Object.keys(state)[0]!}: ${error.message}`),
  );
}

/** This process is now the service, or still is. */
export function tellReady(): void {
  tell({ READY: 1, MAINPID: process.pid });
}

/** A successor is starting. Its READY follows, or that of this process. */
export function tellReloading(): void {
  tell({ RELOADING: 1 });
}

/** This process no longer listens, and there is no successor. */
export function tellStopping(): void {
  tell({ STOPPING: 1 });
}
