import { notHere } from '../errors.js';

export type Runtime = 'node' | 'bun' | 'deno';

/** Found by the names in `process.versions`, because Bun and Deno have the other names of Node too. */
export const runtime: Runtime = 'bun' in process.versions ? 'bun' : 'deno' in process.versions ? 'deno' : 'node';

/**
 * Throws `ERR_FDPASSER_RUNTIME` if this runtime is in `lacking`. `what` begins the message, and `instead` is the
 * sentence that says what to do. docs/runtimes.md has the table.
 */
export function refuseIn(lacking: readonly Runtime[], what: string, instead: string): void {
  if (lacking.includes(runtime)) throw notHere(what, runtime, instead);
}
