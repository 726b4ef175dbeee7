import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What is open in this process, or in another one: from each number to its name. */
export function openDescriptors(pid: number | 'self' = 'self'): Map<number, string> {
  const open = new Map<number, string>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      open.set(Number(name), readlinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // The descriptor that listed the folder.
    }
  }
  return open;
}

/** What is open now and was not open before, as `number -> name`. */
export function leftOpen(before: Map<number, string>): string[] {
  return [...openDescriptors()].filter(([fd, name]) => before.get(fd) !== name).map(([fd, name]) => `${fd} -> ${name}`);
}

/** Device and inode. They prove that two descriptors are the same file. */
export function identity(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return `${dev}:${ino}`;
}

export function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

/** A new file without a name, unlike every other. */
export function anonymousFile(): number {
  return openSync(existsSync(MEMORY) ? MEMORY : tmpdir(), O_TMPFILE_RDWR, 0o600);
}

/** A file system in memory, because one on a disk can take long to create a file. */
const MEMORY = '/dev/shm';

/**
 * A new file with `free` unused numbers below its own. Files that are opened next take those numbers, and not the
 * file's own number after it is closed.
 */
export function anonymousFileAbove(free: number): number {
  const below = Array.from({ length: free }, () => openSync('/dev/null', 'r'));
  const fd = anonymousFile();
  closeAll(below);
  return fd;
}

// O_TMPFILE | O_RDWR of open(2), for which Node has no constant.
const O_TMPFILE_RDWR = 0o20200000 | 0o2;

/** The flags of the open file (O_NONBLOCK is 0o4000, O_CLOEXEC 0o2000000), as proc(5) has them. */
export function flagsOf(fd: number, pid: number | 'self' = 'self'): number {
  const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
  return Number.parseInt(/^flags:\s*(\d+)/m.exec(info)![1]!, 8);
}

export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

/** Runs `body` with a new folder, which is removed afterwards. */
export async function inFolder<T>(body: (folder: string) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-'));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Waits for a condition for which there is no event. Rejects after `within` milliseconds; the default, a minute, is
 * enough for any machine.
 */
export async function until(condition: () => boolean, within = 60_000): Promise<void> {
  const deadline = performance.now() + within;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('what was waited for did not come about');
    await sleep(5);
  }
}

/** Collects garbage until a condition holds. */
export async function collectUntil(condition: () => boolean): Promise<void> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  await until(() => {
    gc();
    return condition();
  });
}

export function closeAll(fds: Iterable<number>): void {
  for (const fd of fds) closeSync(fd);
}
