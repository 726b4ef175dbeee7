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

/** Numbers that a send or a passer has, and will close: nobody may use them any more. */
export const leaving = new Set<number>();

/**
 * Who closes a number, that somebody else opened, when this environment ends.
 *
 * In a worker, Node keeps a list of the numbers that `fs.open` gave out there, and closes them last of all
 * (`trackUnmanagedFds`). Only `fs.close` takes a number off it; closed in any other way it would be closed twice.
 * Nobody can ask what is on it. Deno keeps one everywhere, and its `fs` takes no number but those.
 */
export function closerOf(fd: number): Closer {
  if (runtime === 'deno') return knownToFs(fd) ? OTHERS : OURS;
  return listsNumbers() ? PERHAPS : OURS;
}

/** Whether Node lists numbers in this thread, and warns when `fs.close` is given any other. */
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
 * Closes a number that is owned here, and returns 0 or a negative errno; one that is lent is closed when that is over.
 */
export function shut(fd: number, closer: Closer): number {
  if (closer === OURS) return addon.close(fd);
  // Who is the last to borrow it may be in another thread, which cannot take it off this one's list.
  if (addon.isLent(fd)) {
    leaving.add(fd);
    setTimeout(() => {
      leaving.delete(fd);
      shut(fd, closer);
      slotFreed();
    }, LOAN_CHECK).unref();
    return 0;
  }
  // What a peer has sent may be slow to close, which fs.close would wait for: so that closes something else.
  const vacated = addon.vacate(fd);
  if (vacated < 0) addon.release(fd);
  if (vacated === -EBADF) return vacated;
  const result = closeUnwarned(fd);
  if (vacated === 0) addon.vacated(fd);
  return result;
}

/** Milliseconds. */
const LOAN_CHECK = 5;
