import type { Cluster } from 'node:cluster';

/**
 * Modules of Node that few programs need, each loaded at its first use. Importing them here would more than double the
 * time that this library takes to load. Node has loaded `util` and `module` already, but an import of them reads all
 * their exports, and that loads more modules.
 */
export const builtin = {
  get childProcess() {
    return process.getBuiltinModule('node:child_process');
  },
  get cluster(): Cluster {
    // The types declare what the module exports as its default export.
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
  get dns() {
    return process.getBuiltinModule('node:dns');
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
