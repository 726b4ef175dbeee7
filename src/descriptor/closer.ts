/**
 * Closes a number by the party that must do it: this library, or node:fs where the runtime keeps a list of its numbers.
 */
import { fstatSync } from 'node:fs';
import { constants } from 'node:os';
import { builtin } from '../common/lazy-modules.js';
import { OTHERS, OURS, PERHAPS, type Closer } from '../native/addon.js';
import { addon } from '../native/load.js';
import { runtime } from '../native/runtime.js';
import { closeUnwarned } from './node-internals.js';
import { slotFreed } from './table.js';

const { EBADF } = constants.errno;

/** Numbers that a send or a link has taken over. They will be closed, so nobody may use them any more. */
export const leaving = new Set<number>();

/**
 * Says who closes a number that somebody else opened, when this environment ends.
 *
 * In a worker, Node keeps a list of the numbers that `fs.open` returned there, and closes them at the very end
 * (`trackUnmanagedFds`). Only `fs.close` takes a number off the list. A number closed in another way would be closed
 * twice. Nobody can ask what is on the list. Deno keeps such a list everywhere, and its `fs` accepts no other numbers.
 */
export function closerOf(fd: number): Closer {
  if (runtime === 'deno') return knownToFs(fd) ? OTHERS : OURS;
  return listsNumbers() ? PERHAPS : OURS;
}

/** Whether Node keeps a list of numbers in this thread, and warns if `fs.close` is given any other number. */
export function listsNumbers(): boolean {
  return runtime === 'node' && !builtin.workerThreads.isMainThread;
}

function knownToFs(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/**
 * Closes a number that is owned here. Returns 0 or a negative errno. If the number is lent, it is closed after the last
 * loan.
 */
export function shut(fd: number, closer: Closer): number {
  if (closer === OURS) return addon.close(fd) ?? 0;
  // The last loan may end in another thread, which cannot take the number off this thread's list.
  if (addon.isLent(fd)) {
    leaving.add(fd);
    setTimeout(() => {
      leaving.delete(fd);
      shut(fd, closer);
      slotFreed();
    }, LOAN_CHECK).unref();
    return 0;
  }
  // What a peer has sent may take long to close, and fs.close would wait for that. So fs.close gets another file to
  // close.
  const vacated = addon.vacate(fd);
  if (vacated < 0) addon.release(fd);
  if (vacated === -EBADF) return vacated;
  const result = closeUnwarned(fd);
  if (vacated === 0) addon.vacated(fd);
  return result;
}

/** Milliseconds between two checks whether the loans have ended. */
const LOAN_CHECK = 5;
