import { existsSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { resolve } from 'node:path';
import {
  checkBoolean,
  checkInteger,
  checkOptions,
  invalidType,
  invalidValue,
  type Names,
  type Settled,
} from '../common/arguments.js';
import { builtin } from '../common/lazy-modules.js';
import { address } from '../endpoint/address.js';
import { systemError } from '../errors.js';
import { optionsGiven, pathOfExec } from '../takeover/environment.js';
import type { TakeoverOptions } from '../takeover/options.js';

/** What a `pick` gets to know about a connection. */
export interface Picked {
  /** The IP address of the client; empty over a Unix socket. */
  address: string;
  /** With `peek`, the first bytes that the client sent. The worker reads them too. */
  first?: Buffer;
  /** The name of the listener, as `listen` resolved with. */
  listener: string;
}

export interface SuperviseOptions {
  /** The number of workers. Default: the number of processors that this process may use. */
  count?: number | undefined;
  /**
   * Which worker gets a connection: the least busy, one after the other, or by a string or a number. The same string
   * goes to the same worker, as long as that takes connections. When a worker goes, only its strings move. A number is
   * the pid of a worker, also of one that retires and still takes connections; for any other number the least busy gets
   * it. Default `'busy'`.
   */
  pick?: 'busy' | 'turn' | ((connection: Picked) => string | number) | undefined;
  /**
   * Peek at the first bytes of a TCP connection before it is handed over: up to `bytes` (default 1024), until `until`
   * returns true (default: at the first bytes), for at most `timeout` milliseconds (default 5000).
   */
  peek?:
    | { bytes?: number | undefined; until?: ((first: Buffer) => boolean) | undefined; timeout?: number | undefined }
    | undefined;
  /**
   * Milliseconds that a worker may take to start, and to confirm a connection. Then it is killed, because only its
   * death gives a connection back for certain. Default 10000.
   */
  patience?: number | undefined;
  /** The longest wait, in milliseconds, before a worker that keeps ending is started again. Default 30000. */
  backoff?: number | undefined;
  /** Milliseconds that a replaced worker has to end its connections. Then it is killed. Default 30000. */
  retire?: number | undefined;
  /**
   * `file` is a program that does not know of workers: the supervisor listens where its servers listen. Default false.
   */
  register?: boolean | undefined;
  /**
   * The control path of a takeover, or its options with a `path`: another process that calls `supervise` with the same
   * path replaces this one, with its workers. Default: the path that `fdpasser exec` gives, if any.
   */
  takeover?: string | SupervisorTakeover | undefined;
  /** Arguments of the workers. */
  args?: readonly string[] | undefined;
  /** Environment variables of the workers, added to this process's own. */
  env?: Record<string, string> | undefined;
}

type Peek = NonNullable<SuperviseOptions['peek']>;

const PEEK: Names<Peek> = { bytes: true, until: true, timeout: true };
const SUPERVISE: Names<SuperviseOptions> = {
  count: true,
  pick: true,
  peek: true,
  patience: true,
  backoff: true,
  retire: true,
  register: true,
  takeover: true,
  args: true,
  env: true,
};

/** Those of `takeover`, and its path. */
export interface SupervisorTakeover extends TakeoverOptions {
  path: string;
}

/** The options, checked. */
export type Settings = Settled<Omit<SuperviseOptions, 'peek' | 'takeover'>> & {
  file: string;
  takeover: (SupervisorTakeover & { ofExec?: boolean }) | undefined;
  peek: Settled<Peek> | undefined;
};

const MAX_DELAY = 0x7fff_ffff;
const MOST_WORKERS = 1024;
const MOST_BYTES = 65_536;

export function settingsOf(file: string | URL, options: SuperviseOptions): Settings {
  const { count = availableParallelism(), pick = 'busy', patience = 10_000 } = checkOptions(options, SUPERVISE);
  const { backoff = 30_000, retire = 30_000, register = false, takeover, args = [], env = {}, peek } = options;
  checkBoolean('options.register', register);
  if (pick !== 'busy' && pick !== 'turn' && typeof pick !== 'function')
    throw invalidValue('options.pick', "'busy', 'turn' or a function", pick);
  if (typeof env !== 'object' || env === null || Array.isArray(env)) throw invalidType('options.env', 'an object', env);
  for (const [name, value] of Object.entries(env)) checkText(`options.env.${name}`, value);
  for (const name of Object.keys(env)) checkText('a name in options.env', name);
  if (!Array.isArray(args)) throw invalidType('options.args', 'an array of strings', args);
  for (const [index, argument] of args.entries()) checkText(`options.args[${index}]`, argument);
  return {
    file: fileOf(file),
    count: checkCount('options.count', count),
    pick,
    peek: peek === undefined ? undefined : peekOf(peek),
    patience: checkInteger('options.patience', patience, 1, MAX_DELAY),
    backoff: checkInteger('options.backoff', backoff, 0, MAX_DELAY),
    retire: checkInteger('options.retire', retire, 0, MAX_DELAY),
    register,
    takeover: takeoverOf(takeover),
    args,
    env,
  };
}

export function checkCount(name: string, count: number): number {
  return checkInteger(name, count, 1, MOST_WORKERS);
}

function peekOf(peek: Peek): Settings['peek'] {
  const { bytes = 1024, until = () => true, timeout = 5000 } = checkOptions(peek, PEEK, 'options.peek');
  if (typeof until !== 'function') throw invalidType('options.peek.until', 'a function', until);
  return {
    bytes: checkInteger('options.peek.bytes', bytes, 1, MOST_BYTES),
    until,
    timeout: checkInteger('options.peek.timeout', timeout, 1, MAX_DELAY),
  };
}

function takeoverOf(takeover: SuperviseOptions['takeover']): Settings['takeover'] {
  const path = takeover === undefined ? pathOfExec() : undefined;
  if (path !== undefined) return { ...optionsGiven(), path, ofExec: true };
  if (takeover === undefined) return undefined;
  if (typeof takeover !== 'string' && (typeof takeover !== 'object' || takeover === null))
    throw invalidType('options.takeover', 'a path, or an object', takeover);
  const settings = typeof takeover === 'string' ? { path: takeover } : takeover;
  if (typeof settings.path !== 'string') throw invalidType('options.takeover.path', 'a string', settings.path);
  address(settings.path, 'bind'); // checks it
  return settings;
}

/** What a process can be started with. */
function checkText(name: string, text: string): void {
  if (typeof text !== 'string') throw invalidType(name, 'a string', text);
  if (text.includes('\0')) throw invalidValue(name, 'a string without NUL', text);
}

function fileOf(file: string | URL): string {
  if (typeof file !== 'string' && !(file instanceof URL)) throw invalidType('file', 'a string or a URL', file);
  const path = typeof file === 'string' ? resolve(file) : builtin.url.fileURLToPath(file);
  if (existsSync(path)) return path;
  const advice = 'The file of the workers must exist; a relative path is resolved from the working directory';
  throw systemError(-constants.errno.ENOENT, 'open', { path, advice });
}
