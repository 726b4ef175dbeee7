export { listenFds } from './listen-fds.js';
export { barrier, notify, store, unstore, type BarrierOptions, type NotifyState } from './notify.js';
export { watchdog } from './watchdog.js';
