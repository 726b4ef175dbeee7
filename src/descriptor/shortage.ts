/**
 * Tells what cannot be received because the descriptor table is full. Programs that listen to no event are told by a
 * process warning, once.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { MAX_FDS } from '../native/addon.js';
import { addon } from '../native/load.js';
import { runtime } from '../native/runtime.js';

/** How many slots the first message needs. If other messages wait behind it, only bounds are known. */
interface Need {
  least: number;
  most: number;
}

/** What is known about a full table, and about what waits for a slot in it. */
export interface Shortage extends Need {
  /** Left out if so many descriptors may be open that counting them would take too long. */
  free?: number;
  limit: number;
  /** Whether it needs more slots than can ever be free in this process. */
  hopeless: boolean;
}

/** The need of a message of which nothing is known. */
export const UNKNOWN: Need = { least: 1, most: MAX_FDS };

/** With this limit or a higher one, a program that closes what it does not need always has room for a message. */
const ROOMY = 1024;
/** What the runtime itself has open, except the standard streams: its poller, and what wakes it. */
const RUNTIMES_OWN = /^(?:anon_inode:|pipe:)/;

/** Returns `undefined` if the system does not tell, or has no slot left to ask with. May write to `room`. */
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
    const free = limit - open.length + 1; // one of them was the folder being listed
    const [least, most] = bounds(free);
    const hopeless = least > limit - open.filter(isRuntimes).length - 1; // the -1 is the socket, which stays open
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
    return false; // the folder that was listed
  }
}

const told = new Set<'full' | 'hopeless'>();

/**
 * Warns that something waits. `what` begins the sentence, as `'A connection to a server'`. The message has `free` and
 * `limit` if they are known.
 */
export function warnFull(what: string, { least, most, free, limit }: Need & Partial<Shortage>): void {
  const have = free === undefined ? '' : `, and ${free} of the ${limit} here ${free === 1 ? 'is' : 'are'} free`;
  warn(
    'full',
    `${what} waits in the kernel until the descriptor table of this process has room: it needs ` +
      `${slots(least, most)}${have}. Close descriptors, or raise the limit (ulimit -n)`,
  );
}

export function warnHopeless(what: string, { least, most, limit }: Shortage): void {
  warn(
    'hopeless',
    `${what} waits in the kernel, and can never come: it needs ${slots(least, most)}, and this process may have ` +
      `${limit} descriptors in all, some of which the runtime has. Raise the limit (ulimit -n), or have the peer ` +
      'send fewer descriptors in a message',
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
