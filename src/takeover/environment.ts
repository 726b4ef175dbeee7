/** What the environment says of a takeover to a program that knows nothing of it, and to a supervisor of workers. */
import { claims, endClaims } from './claim.js';
import type { TakeoverOptions } from './options.js';

/** The control path. */
export const VARIABLE = 'FDPASSER_TAKEOVER';
/** What becomes of it in the environment of the program: a worker of `node:cluster` is refused by it. */
export const TAKEN = 'FDPASSER_TAKEOVER_TAKEN';
/** A path: of all processes that have this variable, who binds a socket there takes part. */
const CLAIM = 'FDPASSER_TAKEOVER_CLAIM';
/** A path: the keeper of the process that takes part listens there. */
const KEEPER = 'FDPASSER_TAKEOVER_KEEPER';
/** Its `probation`, in milliseconds. */
const PROBATION = 'FDPASSER_TAKEOVER_PROBATION';

/** All of it, for what is not to take part. */
export const NONE = {
  [VARIABLE]: undefined,
  [TAKEN]: undefined,
  [CLAIM]: undefined,
  [KEEPER]: undefined,
  [PROBATION]: undefined,
};

export function optionsGiven(): TakeoverOptions {
  const { [PROBATION]: probation } = process.env;
  return probation ? { probation: Number(probation) } : {};
}

export function claimGiven(): string | undefined {
  return process.env[CLAIM] || undefined;
}

export function keeperGiven(): string | undefined {
  return process.env[KEEPER] || undefined;
}

/** The control path that `fdpasser exec` has given, if this process is the first that asks for it. */
export function pathOfExec(): string | undefined {
  const { [VARIABLE]: path } = process.env;
  const claim = claimGiven();
  return path && claim !== undefined && claims(claim) ? path : undefined;
}

/** A successor serves: what launches this process may start another, which is not to take part. */
export function endClaimOfExec(): void {
  const claim = claimGiven();
  try {
    if (claim !== undefined) endClaims(claim);
  } catch {
    // This process may have given up the right to do so. `exec` does it when it hears of the successor.
  }
}
