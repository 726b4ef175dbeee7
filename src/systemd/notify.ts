import { ABORTABLE, abortable } from '../common/abort.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { beside, deliver } from '../wire/datagram.js';
import { socketpair } from '../endpoint/pair.js';
import { afterReading, LONGEST_DELAY } from '../common/timers.js';
import { checkInteger, checkOptions, invalidType, invalidValue, type Names } from '../common/arguments.js';
import { badEnvironment, noBarrier } from '../errors.js';
import { FdPasser } from '../passer/passer.js';

/** Assignments for the manager, such as `{ READY: 1, STATUS: 'Serving' }`: sd_notify(3) lists the names. */
export type NotifyState = Readonly<Record<string, string | number | bigint>>;

export interface BarrierOptions {
  /** Milliseconds. Default 5000. */
  timeout?: number | undefined;
}

const BARRIER: Names<BarrierOptions> = { timeout: true };

/** What sd_notify(3) allows in a name of the descriptor store. */
const STORABLE = /^[\x20-\x39\x3b-\x7e]{1,255}$/;

/** The last datagram under way. Each waits for the one before, so that the manager takes them in order. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Tells the service manager about this service: `await notify({ READY: 1 })`. With `RELOADING`, `MONOTONIC_USEC` is
 * added.
 *
 * Resolves with `true` when the message is in the manager's queue, and with `false` when there is no manager
 * (`NOTIFY_SOCKET` is not set). Successive messages arrive in order.
 *
 * Rejects with `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` for anything but assignments, with
 * `ERR_FDPASSER_ENVIRONMENT` for a `NOTIFY_SOCKET` that is not an AF_UNIX address, and as `sendDatagram` does.
 */
export function notify(state: NotifyState): Promise<boolean> {
  return tell(state, []);
}

/**
 * Has the service manager keep duplicates of the descriptors under `name` while the service restarts; `listenFds` gives
 * them to the next process. The caller still owns its own. The unit needs `FileDescriptorStoreMax=`.
 *
 * Resolves and rejects as `notify` does, also with `ERR_INVALID_ARG_VALUE` for a name that sd_notify(3) does not allow.
 */
export async function store(name: string, fds: FdLike | readonly FdLike[]): Promise<boolean> {
  checkName(name);
  return tell({ FDSTORE: 1, FDNAME: name }, Array.isArray(fds) ? fds : [fds as FdLike]);
}

/** Has the service manager close what it keeps under `name`. Resolves and rejects as `store` does. */
export async function unstore(name: string): Promise<boolean> {
  checkName(name);
  return tell({ FDSTOREREMOVE: 1, FDNAME: name }, []);
}

/**
 * Resolves with `true` when the manager has taken all earlier messages of this process; with `false` when there is no
 * manager. A process that sends a message and ends at once needs this: otherwise the manager may not find out who sent
 * it. See sd_notify_barrier(3).
 *
 * Rejects with `ERR_FDPASSER_TIMEOUT`, and as `notify` does.
 */
export async function barrier(options: BarrierOptions = {}): Promise<boolean> {
  const { timeout = 5000 } = checkOptions(options, BARRIER);
  checkInteger('options.timeout', timeout, 1, LONGEST_DELAY);
  const late = new AbortController();
  const timer = setTimeout(() => afterReading(() => late.abort()), timeout);
  try {
    return await passed(late.signal);
  } catch (error) {
    throw late.signal.aborted ? noBarrier(timeout) : error;
  } finally {
    clearTimeout(timer);
  }
}

/** Rejects when the signal aborts, whatever it is waiting for. */
async function passed(signal: AbortSignal): Promise<boolean> {
  const [ours, theirs] = socketpair();
  const passer = new FdPasser({ fh: ours });
  try {
    if (!(await tell({ BARRIER: 1 }, [theirs], signal))) return false;
    theirs.close(); // the manager has one, and closes it
    const fd = await passer.receive({ signal }).catch(() => undefined);
    fd?.close();
    signal.throwIfAborted();
    return true;
  } finally {
    theirs.close();
    passer.destroy();
  }
}

function checkName(name: string): void {
  if (typeof name !== 'string') throw invalidType('name', 'a string', name);
  if (!STORABLE.test(name)) throw invalidValue('name', '1 to 255 printable ASCII characters without a colon', name);
}

/**
 * Rejects when the signal aborts, whether its turn has come or not. `holds`: whether the process stays alive while the
 * manager has no room.
 */
export async function tell(
  state: NotifyState,
  fds: readonly FdLike[],
  signal?: AbortSignal,
  holds = true,
): Promise<boolean> {
  const text = Buffer.from(assignments(state));
  const path = address();
  if (path === undefined) return false;
  const before = last;
  const turn = abortable({ signal }, ABORTABLE, (resolve: (value: unknown) => void, reject) => {
    void before.then(resolve);
    return reject;
  });
  const sent = deliver(path, text, beside(fds, 'keep'), { signal, turn, holds });
  last = Promise.allSettled([before, sent]);
  await sent;
  return true;
}

function assignments(state: NotifyState): string {
  const lines = Object.entries(checkState(state)).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      throw invalidValue('state', 'an object whose names are variables', name);
    if (!['string', 'number', 'bigint'].includes(typeof value))
      throw invalidType(`state.${name}`, 'a string, a number or a bigint', value);
    const text = String(value);
    if (text.includes('\n')) throw invalidValue(`state.${name}`, 'one line', value);
    return `${name}=${text}`;
  });
  if (lines.length === 0) throw invalidValue('state', 'an object with an assignment', state);
  // libuv's clock is CLOCK_MONOTONIC, which the manager wants.
  if ('RELOADING' in state && !('MONOTONIC_USEC' in state))
    lines.push(`MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  return lines.join('\n');
}

function checkState(state: NotifyState): NotifyState {
  if (typeof state !== 'object' || state === null) throw invalidType('state', 'an object', state);
  return state;
}

/** The address for `sendDatagram`. */
function address(): string | undefined {
  const value = process.env['NOTIFY_SOCKET'];
  if (value === undefined) return undefined;
  if (/^@./.test(value)) return `\0${value.slice(1)}`;
  if (value.startsWith('/')) return value;
  throw badEnvironment('NOTIFY_SOCKET', value, 'a path that begins with / or an abstract name that begins with @');
}
