import type { InspectOptions } from 'node:util';

/** What `util.inspect`, and so `console.log`, calls: with its depth, its options and itself. */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

export type Inspect = (value: object, options: InspectOptions) => string;

/** An object as its class and these fields. */
export function inspected(of: object, fields: object, options: InspectOptions, inspect: Inspect): string {
  return `${of.constructor.name} ${inspect(fields, options)}`;
}
