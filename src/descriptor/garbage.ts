/** Closes the descriptor of an OwnedFd that is garbage-collected while it is open, and warns of that. */
import { builtin } from '../common/lazy-modules.js';
import { OURS, type Closer } from '../native/addon.js';
import { shut } from './closer.js';
import type { OwnedFd } from './owned-fd.js';
import { ownership } from './ownership.js';
import { slotFreed } from './table.js';

interface Forgotten {
  fd: number;
  closer: Closer;
  /** The stack of the call that made the OwnedFd, if stacks are recorded. */
  origin?: string | undefined;
}

/** It holds the number alone of a descriptor that is closed here, because there may be very many. */
const registry = new FinalizationRegistry<Forgotten | number>((held) => {
  const forgotten: Forgotten = typeof held === 'number' ? { fd: held, closer: OURS } : held;
  shut(forgotten.fd, forgotten.closer);
  slotFreed();
  if (untold.push(forgotten) === 1) setImmediate(warn);
});

// Registering takes longer than everything else about an OwnedFd, and most are closed or passed on soon. So a new
// OwnedFd first waits in this array, where it cannot be collected. When the loop has turned, those that are still open
// are registered.
let fresh: OwnedFd[] = [];

export function watchForGarbage(owned: OwnedFd): void {
  if (tracing) noteOrigin(owned);
  if (fresh.push(owned) === 1) setImmediate(registerFresh).unref();
}

function registerFresh(): void {
  const due = fresh;
  fresh = [];
  for (const owned of due) {
    if (!ownership.watch(owned)) continue;
    const fd = ownership.number(owned);
    const closer = ownership.closer(owned);
    const plain = closer === OURS && !tracing;
    registry.register(owned, plain ? fd : { fd, closer, origin: origins.get(owned) }, owned);
  }
}

/** To be called when its descriptor is closed, or has another owner. */
export function unwatch(owned: OwnedFd): void {
  registry.unregister(owned);
}

/** Whether this process was started with `--trace-warnings` or `NODE_DEBUG=fdpasser`. */
const tracing =
  (process as { traceProcessWarnings?: boolean }).traceProcessWarnings === true ||
  builtin.util.debuglog('fdpasser').enabled;

const origins = new WeakMap<OwnedFd, string>();

function noteOrigin(owned: OwnedFd): void {
  const here: { stack?: string } = {};
  Error.captureStackTrace(here, watchForGarbage);
  origins.set(owned, here.stack!.slice(here.stack!.indexOf('\n') + 1));
}

/** Closed, but not yet in a warning. */
let untold: Forgotten[] = [];
let told = false;

/** Warns once in a process, or each time if stacks are recorded. */
function warn(): void {
  const closed = untold;
  untold = [];
  if (told && !tracing) return;
  told = true;
  const what =
    closed.length === 1
      ? `Descriptor ${closed[0]!.fd} was closed because its OwnedFd was garbage-collected`
      : `${closed.length} descriptors (${listed(closed)}) were closed because their OwnedFds were garbage-collected`;
  const more = tracing
    ? ''
    : '. This warning comes once. With --trace-warnings or NODE_DEBUG=fdpasser it comes each time, and tells where ' +
      'the OwnedFd was made';
  process.emitWarning(`${what}. Close every OwnedFd, or declare it with "using"${more}`, {
    type: 'FdPasserWarning',
    ...(tracing ? { detail: whereMade(closed) } : {}),
  });
}

function whereMade(closed: Forgotten[]): string {
  const groups = new Map<string, Forgotten[]>();
  for (const one of closed) {
    const group = groups.get(one.origin!);
    if (group === undefined) groups.set(one.origin!, [one]);
    else group.push(one);
  }
  return [...groups].map(([origin, group]) => `Where ${listed(group)} came from:\n${origin}`).join('\n');
}

/** The most numbers that fit in a line. */
const MOST_LISTED = 8;

function listed(closed: Forgotten[]): string {
  const numbers = closed.slice(0, MOST_LISTED).map(({ fd }) => fd);
  return numbers.join(', ') + (closed.length > MOST_LISTED ? ', …' : '');
}
