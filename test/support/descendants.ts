import { readdirSync, readFileSync } from 'node:fs';

/** In the environment of whatever this process starts, and of what that starts in turn. */
process.env['FDPASSER_TEST_FILE'] = `${process.pid}-${Date.now()}`;
const MARK = `FDPASSER_TEST_FILE=${process.env['FDPASSER_TEST_FILE']}`;

/**
 * Kills the processes that this one has started and that still run, and those that they have started, whether or not
 * their parents have ended. One with an environment of its own is found only while its parents live.
 */
export function killDescendants(): void {
  for (const pid of childrenOf(process.pid)) killTree(pid);
  for (const pid of marked()) killTree(pid);
}

/** Stopped first, so that it starts nothing while those below it are killed. */
function killTree(pid: number): void {
  signal(pid, 'SIGSTOP');
  for (const child of childrenOf(pid)) killTree(child);
  signal(pid, 'SIGKILL');
}

/** As proc_pid_task_children(5) lists them, for each thread that started some. */
function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      (readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').match(/\d+/g) ?? []).map(Number),
    );
  } catch {
    return []; // it has ended, or so has one of its threads
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
    return false; // it has ended, or is another user's
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}
