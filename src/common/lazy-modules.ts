import type { Cluster } from 'node:cluster';

/**
 * Node's modules that few programs need, loaded when one does: importing them here would more than double what it takes
 * to load this library. `util` and `module` are loaded, but importing them reads all that they export, and so loads
 * more.
 */
export const builtin = {
  get childProcess() {
    return process.getBuiltinModule('node:child_process');
  },
  get cluster(): Cluster {
    // Its exports, which the types have as default.
    return process.getBuiltinModule('node:cluster') as unknown as Cluster;
  },
  get crypto() {
    return process.getBuiltinModule('node:crypto');
  },
  get diagnosticsChannel() {
    return process.getBuiltinModule('node:diagnostics_channel');
  },
  get dgram() {
    return process.getBuiltinModule('node:dgram');
  },
  get http() {
    return process.getBuiltinModule('node:http');
  },
  get module() {
    return process.getBuiltinModule('node:module');
  },
  get net() {
    return process.getBuiltinModule('node:net');
  },
  get timers() {
    return process.getBuiltinModule('node:timers/promises');
  },
  get url() {
    return process.getBuiltinModule('node:url');
  },
  get tty() {
    return process.getBuiltinModule('node:tty');
  },
  get util() {
    return process.getBuiltinModule('node:util');
  },
  get v8() {
    return process.getBuiltinModule('node:v8');
  },
  get workerThreads() {
    return process.getBuiltinModule('node:worker_threads');
  },
};
