/** Runs another program in the place of this one: passes signals on to it, and ends as it ends. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { isatty } from 'node:tty';

/** As with env(1), nohup(1) and timeout(1). */
export const PROGRAM_FAILURE = 125;
const NOT_RUN = 126;
const NOT_FOUND = 127;

const PASSED_ON = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'] as const;

/**
 * Runs a program to its end, with these descriptors as its 3, 4 and so on. They are borrowed until this returns its
 * promise. Resolves with the exit code, as a shell reports it.
 */
export async function runProgram([name, ...args]: readonly string[], fds: readonly number[]): Promise<number> {
  let child: ChildProcess;
  // Before there is a program: it may provoke a signal as soon as it runs, even before spawn() has returned.
  const stop = passSignalsOn(() => child);
  try {
    child = spawn(name!, args, { stdio: ['inherit', 'inherit', 'inherit', ...fds] });
    return await new Promise((resolve) => {
      child.once('error', (error) => resolve(notStarted(name!, error)));
      child.once('exit', (code, signal) => resolve(exitCode(code, signal)));
    });
  } finally {
    stop();
  }
}

/** The exit code that a shell reports. */
export function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + constants.signals[signal!];
}

/** With the name of the signal that it stands for. */
export function named(code: number): string {
  const [name] = Object.entries(constants.signals).find(([, number]) => number === code - 128) ?? [];
  return name === undefined ? `${code}` : `${code} (${name})`;
}

/** Reports that a program could not be started, and returns the exit code for that. */
export function notStarted(name: string, error: NodeJS.ErrnoException): number {
  console.error(`fdpasser: "${name}" cannot be run: ${error.code === 'ENOENT' ? 'it is not found' : error.message}.`);
  return error.code === 'ENOENT' ? NOT_FOUND : NOT_RUN;
}

/** Passes signals on until the function that it returns is called. */
function passSignalsOn(child: () => ChildProcess): () => void {
  const passOn = (signal: NodeJS.Signals): void => {
    if (!isFromTerminal(signal)) child().kill(signal);
  };
  for (const signal of PASSED_ON) process.on(signal, passOn);
  return () => PASSED_ON.forEach((signal) => process.off(signal, passOn));
}

/**
 * Ctrl-C and Ctrl-\ go to all processes in the foreground of a terminal. If they were passed on, the program would get
 * them twice.
 */
export function isFromTerminal(signal: NodeJS.Signals): boolean {
  return (signal === 'SIGINT' || signal === 'SIGQUIT') && isInForeground();
}

/**
 * Compares the process group of this process with that in the foreground of its terminal (/proc/pid/stat in proc(5)).
 */
function isInForeground(): boolean {
  if (process.platform !== 'linux') return isatty(0);
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}
