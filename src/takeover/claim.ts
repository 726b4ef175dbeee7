/**
 * Which of the processes that one start of a program brings takes part in takeovers: the first that listens, and when
 * that has died, the next. The claim is a socket that is bound at a path, so the kernel ends it with its process.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { listen } from '../endpoint/listen.js';
import type { FdServer } from '../endpoint/server.js';

/** It is held as long as this process lives. */
let held: FdServer | undefined;

/** Whether this process has the claim, from now on. */
export function claims(path: string): boolean {
  try {
    held ??= listen(path);
  } catch {
    return false;
  }
  return true;
}

/** Lets no process claim it any more: what stands at the path is no socket then, and `listen` leaves that alone. */
export function endClaims(path: string): void {
  const file = `${path}.${process.pid}`;
  writeFileSync(file, '');
  renameSync(file, path);
}
