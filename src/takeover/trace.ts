import { builtin } from '../common/lazy-modules.js';

/** Prints a step of a takeover on standard error if `NODE_DEBUG` has `fdpasser`. */
export const trace = builtin.util.debuglog('fdpasser');
