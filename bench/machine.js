import { arch, availableParallelism, release } from 'node:os';

/** What the figures depend on besides the library. */
export function machine() {
  return { cores: availableParallelism(), arch: arch(), linux: release().split('-')[0], node: process.version };
}
