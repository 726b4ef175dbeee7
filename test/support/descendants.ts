import { readdirSync, readFileSync } from 'node:fs';

/** Marks the environment of all processes that this one starts, and of their descendants. */
process.env['FDPASSER_TEST_FILE'] = `${process.pid}-${Date.now()}`;
const MARK = `FDPASSER_TEST_FILE=${process.env['FDPASSER_TEST_FILE']}`;

/**
 * Kills the descendants of this process that still run, even those whose parents have ended. One with another
 * environment is found only while its parents live.
 */
export function killDescendants(): void {
  for (const pid of childrenOf(process.pid)) killTree(pid);
  for (const pid of marked()) killTree(pid);
}

/** Stops a process first, so that it starts nothing while its descendants are killed. */
function killTree(pid: number): void {
  signal(pid, 'SIGSTOP');
  for (const child of childrenOf(pid)) killTree(child);
  signal(pid, 'SIGKILL');
}

/** The children of each thread, as in proc_pid_task_children(5). */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      (readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').match(/\d+/g) ?? []).map(Number),
    );
  } catch {
    return []; // it has ended, or one of its threads has
  }
}

function marked(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && isMarked(pid));
}

function isMarked(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(MARK);
  } catch {
    return false; // it has ended, or belongs to another user
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}
