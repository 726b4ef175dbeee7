import type { InspectOptions } from 'node:util';

/**
 * The key of the method that `util.inspect` and `console.log` call. It is given the depth, the options and `inspect`.
 */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

export type Inspect = (value: object, options: InspectOptions) => string;

/** Shows an object as the name of its class and these fields. */
export function inspected(of: object, fields: object, options: InspectOptions, inspect: Inspect): string {
  return `${of.constructor.name} ${inspect(fields, options)}`;
}
