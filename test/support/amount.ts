/** A run that may take an hour: `npm run test:takeover`. */
export const isLong = process.env['LONG'] !== undefined;

const IN_FULL = isLong || process.env['CI'] !== undefined;

/**
 * How much a long test does: `all` with `CI` set, `whole` with `LONG` set, and otherwise `part`, because somebody waits
 * for it.
 */
export function amount(all: number, part: number, whole = all): number {
  if (isLong) return whole;
  return IN_FULL ? all : part;
}

/** How long a supervisor waits for a stuck worker. A busy machine may keep a healthy one waiting for seconds. */
export const PATIENCE = amount(20_000, 8000);

/** Why a test is left out when somebody waits for it, and false in full. */
export const inFull: string | false = IN_FULL ? false : 'needs a full run (CI=1 npm test)';
