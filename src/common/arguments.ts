/** Checks of what callers pass, with errors like Node's own. */

export function invalidType(name: string, expected: string, value: unknown): TypeError {
  const message = `The "${name}" argument must be ${expected}. Received ${shown(value)}`;
  return withCode(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
}

export function invalidValue(name: string, expected: string, value: unknown): TypeError {
  const message = `The "${name}" argument must be ${expected}. Received ${shown(value)}`;
  return withCode(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
}

export function invalidReturn(name: string, expected: string, value: unknown): TypeError {
  const message = `The "${name}" function must return ${expected}. It returned ${shown(value)}`;
  return withCode(new TypeError(message), 'ERR_INVALID_RETURN_VALUE');
}

export function outOfRange(name: string, range: string, value: unknown): RangeError {
  const message = `The value of "${name}" is out of range. It must be ${range}. Received ${shown(value)}`;
  return withCode(new RangeError(message), 'ERR_OUT_OF_RANGE');
}

/** The names of all options in `T`, each with `true`. The compiler refuses a list in which one is missing. */
export type Names<T> = Readonly<Record<keyof T, true>>;

/** The options of `T` with their defaults, so that none is missing or undefined. */
export type Settled<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };

/**
 * Returns the options if they are an object and have only names that are in `names`, and throws otherwise. `of` is the
 * name of the argument, for the message.
 */
export function checkOptions<T extends object>(options: T, names: Names<T>, of = 'options'): T {
  if (typeof options !== 'object' || options === null) throw invalidType(of, 'an object', options);
  for (const name in options) if (!Object.hasOwn(names, name)) throw noOption(name, names);
  return options;
}

/** Returns only the options with these names, including inherited ones. */
export function pick<T extends object>(options: T, names: Names<T>): T {
  const found = Object.keys(names).filter((name) => name in options);
  return Object.fromEntries(found.map((name) => [name, options[name as keyof T]])) as T;
}

function noOption(name: string, names: object): TypeError {
  const message = `There is no option "${name}" here. There are: ${Object.keys(names).join(', ')}`;
  return withCode(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
}

export function checkBoolean(name: string, value: boolean): void {
  if (typeof value !== 'boolean') throw invalidType(name, 'a boolean', value);
}

/** Returns the value if it is an integer within these bounds, and throws otherwise. */
export function checkInteger(name: string, value: number, least: number, most: number): number {
  if (typeof value !== 'number') throw invalidType(name, 'a number', value);
  if (!Number.isInteger(value) || value < least || value > most)
    throw outOfRange(name, `an integer >= ${least} and <= ${most}`, value);
  return value;
}

/** How a message shows a value that was passed in. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value === 'object' && value !== null) return `an instance of ${value.constructor?.name ?? 'Object'}`;
  if (typeof value === 'function') return 'a function';
  return String(value);
}

export function withCode<E extends Error>(error: E, code: string): E {
  return Object.assign(error, { code });
}
