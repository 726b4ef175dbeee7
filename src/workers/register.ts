/**
 * Loaded before the program of a worker by `supervise(file, { register: true })`: an unmodified server works as a
 * worker, and its `listen()` becomes the supervisor's. No process that it starts is a worker.
 */
import { builtin } from '../common/lazy-modules.js';
import { endAsTold } from '../takeover/end-as-told.js';
import { listenAs, replaceListen } from '../takeover/listeners/node-listening.js';
import { VARIABLE } from './messages.js';
import { worker } from './worker.js';

if (process.env[VARIABLE] !== undefined && builtin.workerThreads.isMainThread) {
  const own = worker();
  own.whenDone(endAsTold);
  replaceListen(function (...args) {
    if (!own.listen(this, args)) listenAs(this, ...args);
    return this;
  });
}
