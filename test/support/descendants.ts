import { readdirSync, readFileSync } from 'node:fs';

/** Kills the processes that this one has started and that still run, and those that they have started. */
export function killDescendants(): void {
  for (const pid of childrenOf(process.pid)) killTree(pid);
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

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}
