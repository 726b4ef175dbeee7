/**
 * How much a test that takes long does: `all` with `CI` set, `part` at other times, when somebody waits for it, and
 * `whole` with `LONG` set, where that is more.
 */
export function amount(all: number, part: number, whole = all): number {
  if (isLong) return whole;
  return process.env['CI'] === undefined ? part : all;
}

/** A run that may take an hour: `npm run test:takeover`. */
export const isLong = process.env['LONG'] !== undefined;
