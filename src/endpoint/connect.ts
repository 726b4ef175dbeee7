import { constants } from 'node:os';
import { resolve } from 'node:path';
import { checkSignal } from '../common/abort.js';
import { ownMade, type OwnedFd } from '../descriptor/owned-fd.js';
import { checkOptions, invalidType, outOfRange, pick, type Names } from '../common/arguments.js';
import { aborted, systemError, timedOut } from '../errors.js';
import { builtin } from '../common/lazy-modules.js';
import { addon } from '../native/load.js';
import { address, isAbstract, SUN_PATH } from './address.js';
import { typeNumber, type SocketType } from '../native/kinds.js';

export interface ConnectOptions {
  /** The type of the socket, which must be the listener's. Default `'stream'`. */
  type?: SocketType | undefined;
  signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds, while the listener's backlog is full. Default: without limit. */
  timeout?: number | undefined;
}

export const CONNECT_OPTIONS: Names<ConnectOptions> = { type: true, signal: true, timeout: true };

// Milliseconds. No event tells when a backlog has room again, so connecting is tried again, less and less often.
const FIRST_RETRY = 1;
const LONGEST_RETRY = 50;

const ADVICE: Readonly<Record<number, string>> = {
  [constants.errno.ECONNREFUSED]: 'Nobody listens there, or it is no socket',
  [constants.errno.ENOENT]: 'Is the listener running, and the folder there?',
  [constants.errno.EACCES]: 'The permissions of the path, or of a folder on the way to it, refuse this user',
  [constants.errno.EPROTOTYPE]: 'The socket there has another type',
};

const AT_SIGN =
  "A path that starts with '@' names a file here. An abstract name starts with a NUL, which some programs write as '@'";

/**
 * Connects to a listening AF_UNIX socket. A path that starts with a NUL is an abstract name. The new socket is
 * close-on-exec and non-blocking, and yours to close.
 *
 * Rejects with `ENOENT`, `ECONNREFUSED`, `EACCES`, `EPROTOTYPE` (the listener has another type), `ENAMETOOLONG` or
 * `EMFILE`, each with the path; with an `AbortError`; or with `ERR_FDPASSER_TIMEOUT` if the backlog stays full.
 */
export async function connect(path: string, options: ConnectOptions = {}): Promise<OwnedFd> {
  let name = address(path, 'connect');
  const later = lasting(path, name);
  const { type = 'stream', signal, timeout } = checkOptions(options, CONNECT_OPTIONS);
  const number = typeNumber(type);
  checkSignal(signal);
  if (timeout !== undefined && typeof timeout !== 'number') throw invalidType('options.timeout', 'a number', timeout);
  if (timeout !== undefined && !(timeout >= 0)) throw outOfRange('options.timeout', 'a number >= 0', timeout);
  const deadline = timeout === undefined ? Infinity : performance.now() + timeout;

  for (let pause = FIRST_RETRY; ; pause = Math.min(pause * 2, LONGEST_RETRY)) {
    const result = addon.connect(number, name);
    if (result >= 0) return ownMade(result);
    if (result !== -constants.errno.EAGAIN) throw connectError(result, path);
    const left = deadline - performance.now();
    if (left <= 0) throw timedOut('connect', path, timeout!);
    name = later;
    try {
      await builtin.timers.setTimeout(Math.min(pause, left), undefined, { signal });
    } catch {
      throw aborted(signal!);
    }
  }
}

/** The name under which the socket can be found even after a chdir: its absolute path, if that fits. */
function lasting(path: string, name: Buffer): Buffer {
  const absolute = isAbstract(path) ? path : resolve(path);
  return Buffer.byteLength(absolute) < SUN_PATH ? address(absolute, 'connect') : name;
}

/** Connects, and gives the connection to `use`, which takes it over. If `use` throws, the connection is closed. */
export async function connectWith<T>(path: string, options: ConnectOptions, use: (socket: OwnedFd) => T): Promise<T> {
  const socket = await connect(path, pick(options, CONNECT_OPTIONS)); // the other options are for `use`
  try {
    return use(socket);
  } catch (error) {
    socket.close();
    throw error;
  }
}

function connectError(result: number, path: string): Error {
  const advice = path.startsWith('@') && result === -constants.errno.ENOENT ? AT_SIGN : ADVICE[-result];
  return systemError(result, 'connect', advice === undefined ? { path } : { path, advice });
}
