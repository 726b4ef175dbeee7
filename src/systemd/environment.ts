import { badEnvironment } from '../errors.js';

/** A whole number from the environment, within these bounds. `undefined` where the variable is not set. */
export function wholeNumber(name: string, least: number, most = Number.MAX_SAFE_INTEGER): number | undefined {
  const text = process.env[name];
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw badEnvironment(name, text, `a whole number from ${least} to ${most}`);
}
