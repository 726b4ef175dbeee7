import { createRequire } from 'node:module';
import { addonMissing, pollerFailed } from '../errors.js';
import { MAX_MESSAGES, type Addon } from './addon.js';
import { choosePoller } from './poller.js';

function load(): Addon {
  const target = `${process.platform}-${process.arch}`;
  try {
    return createRequire(import.meta.url)(`../../prebuilds/${target}/fdpasser.node`) as Addon;
  } catch (cause) {
    throw addonMissing(target, cause);
  }
}

/** The C core. Each thread has its own instance. */
export const addon: Addon = load();

const started = addon.usePoller(choosePoller() === 'thread');
if (started < 0) throw pollerFailed(started);

const ints = new Int32Array(addon.batch);

/** The thread's `struct fdp_batch`, field by field. Whoever calls the addon fills or reads it at once. */
export const batch = {
  tail: ints.subarray(0, 1),
  size: ints.subarray(1, 1 + MAX_MESSAGES),
  count: ints.subarray(1 + MAX_MESSAGES, 1 + 2 * MAX_MESSAGES),
  fd: ints.subarray(1 + 2 * MAX_MESSAGES),
} as const;
