/**
 * What a full descriptor table keeps from being received, and how that is told to those who listen to nothing: by a
 * process warning, once.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { MAX_FDS } from '../native/addon.js';
import { addon } from '../native/load.js';
import { runtime } from '../native/runtime.js';

/** How many slots the first message needs. Where others stand behind it, only bounds are known. */
interface Need {
  least: number;
  most: number;
}

/** What is known of a table that is full, and of what waits for it. */
export interface Shortage extends Need {
  /** Left out where so many may be open that counting them would take too long. */
  free?: number;
  limit: number;
  /** It needs more than could ever be free here. */
  hopeless: boolean;
}

/** What any message may need. */
export const UNKNOWN: Need = { least: 1, most: MAX_FDS };

/** From this limit on, a program that closes what it does not need always has room for a message. */
const ROOMY = 1024;
/** What the runtime itself has open: its poller and what wakes it, and the standard streams. */
const RUNTIMES_OWN = /^(?:anon_inode:|pipe:)/;

/** `undefined` where the system does not tell, or has no slot left for asking. May write to `room`. */
export function shortageOf(socket: number, room: Uint8Array): Shortage | undefined {
  if (process.platform !== 'linux' || runtime === 'deno') return undefined; // Deno would ask its user first
  try {
    const queued = numberIn(`/proc/self/fdinfo/${socket}`, /^scm_fds:\s*(\d+)/m);
    const limit = numberIn('/proc/self/limits', /^Max open files\s+(\d+)/m);
    const single = addon.single(socket, room) === 1;
    const bounds = (free: number): [least: number, most: number] => {
      const most = Math.max(free + 1, Math.min(queued, MAX_FDS));
      return [single ? most : free + 1, most];
    };
    if (limit >= ROOMY) {
      const [least, most] = bounds(0);
      return { least, most, limit, hopeless: false };
    }
    const open = readdirSync('/proc/self/fd').filter((fd) => Number(fd) < limit);
    const free = limit - open.length + 1; // one of them listed them
    const [least, most] = bounds(free);
    const hopeless = least > limit - open.filter(isRuntimes).length - 1; // and the socket stays open
    return { least, most, free, limit, hopeless };
  } catch {
    return undefined;
  }
}

function numberIn(file: string, pattern: RegExp): number {
  const found = Number(pattern.exec(readFileSync(file, 'latin1'))?.[1]);
  return Number.isNaN(found) ? Infinity : found;
}

function isRuntimes(fd: string): boolean {
  try {
    return Number(fd) <= 2 || RUNTIMES_OWN.test(readlinkSync(`/proc/self/fd/${fd}`));
  } catch {
    return false; // what listed them
  }
}

const told = new Set<'full' | 'hopeless'>();

/** `what` waits, as `'A connection to a server'`. `free` and `limit` are said if they are known. */
export function warnFull(what: string, { least, most, free, limit }: Need & Partial<Shortage>): void {
  const have = free === undefined ? '' : `, and of the ${limit} here ${free === 1 ? 'one is' : `${free} are`} free`;
  warn(
    'full',
    `${what} waits in the kernel until the descriptor table of this process has room: it needs ${slots(least, most)}${have}. ` +
      'Close descriptors, or raise the limit (ulimit -n)',
  );
}

export function warnHopeless(what: string, { least, most, limit }: Shortage): void {
  warn(
    'hopeless',
    `${what} waits in the kernel, and can never come: it needs ${slots(least, most)}, and this process may have ${limit} ` +
      'descriptors in all, some of which the runtime has. Raise the limit (ulimit -n), or have the peer send fewer ' +
      'descriptors in a message',
  );
}

function warn(kind: 'full' | 'hopeless', message: string): void {
  if (told.has(kind)) return;
  told.add(kind);
  process.emitWarning(message, 'FdPasserWarning');
}

function slots(least: number, most: number): string {
  if (least !== most) return `${least} to ${most} free slots`;
  return least === 1 ? 'one free slot' : `${least} free slots`;
}
