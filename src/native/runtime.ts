import { notHere } from '../errors.js';

export type Runtime = 'node' | 'bun' | 'deno';

/** By what it says of itself: all of them have Node's names. */
export const runtime: Runtime = 'bun' in process.versions ? 'bun' : 'deno' in process.versions ? 'deno' : 'node';

/** Throws `ERR_FDPASSER_RUNTIME` where a runtime lacks what `what` needs; docs/runtimes.md has the table. */
export function refuseIn(lacking: readonly Runtime[], what: string, instead: string): void {
  if (lacking.includes(runtime)) throw notHere(what, runtime, instead);
}
