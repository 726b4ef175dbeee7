/**
 * How much a long test does: `all` with `CI` set, `whole` with `LONG` set, and otherwise `part`, because somebody waits
 * for it.
 */
export function amount(all: number, part: number, whole = all): number {
  if (isLong) return whole;
  return process.env['CI'] === undefined ? part : all;
}

/** A run that may take an hour: `npm run test:takeover`. */
export const isLong = process.env['LONG'] !== undefined;
