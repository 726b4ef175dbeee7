import { nameOf, wantedOfServer } from '../takeover/listeners/wanted.js';

/** What a program in a worker asks to listen on, where the supervisor can do that for it. */
export interface Shared {
  port?: number;
  host?: string;
  path?: string;
  backlog?: number;
  ipv6Only?: boolean;
  readableAll?: boolean;
  writableAll?: boolean;
  /** Which one it is of those servers of the program that listen so at any free port. */
  index?: number;
}

/** Options of `server.listen()` that make it this process's own. */
const OWN = ['fd', '_handle', 'handle'];
/** Those that Node takes as false unless they are true. */
const FLAGS = ['ipv6Only', 'readableAll', 'writableAll'] as const;

/**
 * What the arguments of `server.listen()` ask for. `undefined` for what no other process can listen on, for what is
 * exclusive, and for what Node refuses.
 */
export function sharedOf(args: readonly unknown[]): Shared | undefined {
  const options = optionsOf(args.filter((value) => typeof value !== 'function'));
  if (OWN.some((name) => name in options) || options['exclusive'] === true || options['reusePort'] === true)
    return undefined;
  const wanted = wantedOfServer([options]);
  const { host } = options;
  const rest: Shared = {};
  const backlog = Number(options['backlog']) | 0; // as Node has it, which takes anything
  if (backlog > 0) rest.backlog = backlog;
  for (const flag of FLAGS) if (options[flag] === true) rest[flag] = true;
  if (wanted.kind === 'unix') return { ...rest, path: wanted.path };
  if (wanted.kind === 'tcp' && wanted.port > 65_535) return undefined;
  if (wanted.kind !== 'tcp' && !(wanted.kind === 'nameless' && wanted.anyPort)) return undefined;
  return { ...rest, port: wanted.kind === 'tcp' ? wanted.port : 0, ...(typeof host === 'string' && host && { host }) };
}

/** The same for the same address; `undefined` for any port that is free. */
export function keyOf(shared: Shared): string | undefined {
  return nameOf(wantedOfServer([shared]));
}

/**
 * Numbers the servers of a program that listen at any free port, as `node:cluster` does: the same number is one port in
 * all workers.
 */
export class AnyPorts {
  readonly #used = new Map<string, { next: number; count: number }>();

  /** Begins with 0 again when all have been dropped. */
  add(shared: Shared): Shared {
    if (shared.port !== 0) return shared;
    const key = JSON.stringify(shared);
    const used = this.#used.get(key) ?? { next: 0, count: 0 };
    used.count++;
    this.#used.set(key, used);
    return { ...shared, index: used.next++ };
  }

  /** What `add` has returned. */
  drop({ index, ...shared }: Shared): void {
    const key = JSON.stringify(shared);
    const used = this.#used.get(key);
    if (index !== undefined && --used!.count === 0) this.#used.delete(key);
  }
}

function optionsOf([first, ...rest]: unknown[]): Record<string, unknown> {
  if (typeof first === 'object' && first !== null) return first as Record<string, unknown>;
  const backlog = rest.find((value) => typeof value === 'number');
  if (typeof first === 'string' && Number.isNaN(Number(first))) return defined({ path: first, backlog });
  const host = typeof rest[0] === 'string' ? rest[0] : undefined;
  return defined({ port: first, host, backlog });
}

function defined(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
