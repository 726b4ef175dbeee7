/**
 * Loaded before the program of a worker by `supervise(file, { register: true })`: an unmodified server works as a
 * worker, and its `listen()` becomes the supervisor's. No process that it starts is a worker.
 */
import { builtin } from '../common/lazy-modules.js';
import { noTakeoverInCluster } from '../errors.js';
import { endAsTold } from '../takeover/end-as-told.js';
import { listenAs, replaceListen } from '../takeover/listeners/node-listening.js';
import { VARIABLE } from './messages.js';
import { sharedOf } from './shared.js';
import { worker } from './worker.js';

const { isMainThread } = builtin.workerThreads;
if (process.env[VARIABLE] !== undefined && isMainThread) {
  const own = worker();
  own.whenDone(endAsTold);
  replaceListen(function (...args) {
    if (!own.listen(this, args)) listenAs(this, ...args);
    return this;
  });
} else if (isMainThread && builtin.cluster.isWorker) {
  // Its primary is such a program, or one that it has started, and cannot distribute what the supervisor accepts.
  replaceListen(function (...args) {
    if (sharedOf(args) === undefined) listenAs(this, ...args);
    else process.nextTick(() => this.emit('error', noTakeoverInCluster()));
    return this;
  });
}
