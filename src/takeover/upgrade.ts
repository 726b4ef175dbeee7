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

/** Reports how an upgrade went. */
interface Upgraded {
  once(event: 'handover', listener: (successor: { pid: number }) => void): unknown;
  once(event: 'rollback', listener: (error: Error) => void): unknown;
  removeListener(event: string, listener: (...args: never[]) => void): unknown;
}

/**
 * Starts a successor and resolves when it serves for good. Rejects with the error of the rollback, or when the process
 * that was started ended, or did not dial within `initTimeout` (it is then killed).
 */
export function upgrade(
  serving: Upgraded,
  options: UpgradeOptions,
  initTimeout: number,
  underWay: () => boolean,
): Promise<{ pid: number }> {
  return new Promise((resolve, reject) => {
    const child = startSuccessor(options);
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      serving.removeListener('handover', done);
      serving.removeListener('rollback', failed);
      child.removeListener('exit', ended);
      act();
    };
    const done = ({ pid }: { pid: number }): void => settle(() => resolve({ pid }));
    const failed = (error: Error): void => settle(() => reject(error));
    const ended = (code: number | null, signal: string | null): void => {
      const how = signal === null ? `it ended with code ${code}` : `${signal} killed it`;
      if (!underWay()) failed(takeoverPeerGone('HELLO', child.pid, new Error(how)));
    };
    const timer = setTimeout(() => {
      if (underWay()) return;
      child.kill();
      failed(stepTimedOut('HELLO', child.pid, initTimeout));
    }, initTimeout);
    serving.once('handover', done);
    serving.once('rollback', failed);
    child.once('exit', ended);
    child.once('error', failed);
  });
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
