import type { ChildProcess, StdioOptions } from 'node:child_process';
import { checkOptions, type Names } from '../common/arguments.js';
import { builtin } from '../common/lazy-modules.js';
import { stepTimedOut, takeoverPeerGone } from '../errors.js';

/** How the successor is started. By default it gets this process's program, arguments, environment and folder. */
export interface UpgradeOptions {
  /** Default: the Node that runs this process. */
  command?: string | undefined;
  /** Default: the flags of Node, the program and its arguments, as this process has them. */
  args?: readonly string[] | undefined;
  env?: NodeJS.ProcessEnv | undefined;
  cwd?: string | undefined;
  /** Default `'inherit'`: the successor writes where this process writes. */
  stdio?: StdioOptions | undefined;
}

const UPGRADE: Names<UpgradeOptions> = { command: true, args: true, env: true, cwd: true, stdio: true };

/** Is told how an upgrade went. */
export interface Upgrade {
  done: (successor: { pid: number }) => void;
  failed: (error: Error) => void;
}

/**
 * Starts a successor and resolves when it serves for good. Rejects with the error of the rollback, or when the process
 * that was started ended, or did not dial within `initTimeout` (it is then killed).
 */
export async function upgrade(
  upgrades: Set<Upgrade>,
  options: UpgradeOptions,
  initTimeout: number,
  underWay: () => boolean,
): Promise<{ pid: number }> {
  const child = startSuccessor(options);
  let own!: Upgrade;
  const over = new Promise<{ pid: number }>((done, failed) => (own = { done, failed }));
  upgrades.add(own);
  const ended = (code: number | null, signal: string | null): void => {
    const how = signal === null ? `it ended with code ${code}` : `${signal} killed it`;
    if (!underWay()) own.failed(takeoverPeerGone('HELLO', child.pid, new Error(how)));
  };
  const timer = setTimeout(() => {
    if (underWay()) return;
    child.kill();
    own.failed(stepTimedOut('HELLO', child.pid, initTimeout));
  }, initTimeout);
  child.once('exit', ended);
  child.once('error', own.failed);
  try {
    return await over;
  } finally {
    clearTimeout(timer);
    child.removeListener('exit', ended);
    upgrades.delete(own);
  }
}

/** The successor lives on when this process ends. */
function startSuccessor(options: UpgradeOptions): ChildProcess {
  const {
    command = process.execPath,
    args = [...process.execArgv, ...process.argv.slice(1)],
    env = process.env,
    cwd = process.cwd(),
    stdio = 'inherit',
  } = checkOptions(options, UPGRADE);
  const child = builtin.childProcess.spawn(command, args, { env, cwd, stdio });
  child.unref();
  return child;
}
