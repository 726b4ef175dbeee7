import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { Failure, milliseconds, OK, onlyOne } from '../command.js';
import { boundTo } from '../inspect/bound.js';
import { openOf, type OpenOfProcess } from '../inspect/open.js';
import { exitCode } from '../program.js';
import { boundText, openText } from '../inspect/text.js';

export const help = `usage: fdpasser inspect [--json] [--timeout SECONDS] PID|PATH

Shows what a process has open: the kinds, the addresses of sockets and what lies in them unread. Or shows which
processes have the Unix socket at a path, and who made it. It reads /proc, takes nothing and connects to nothing.

  PID                 a process of the same user; root may inspect all
  PATH                a Unix socket; @NAME is an abstract name. A path that is a number is written ./1
  --json              output for programs
  --timeout SECONDS   give up after so long: a file system may not answer. Default 60

exit codes: 0 it was shown; 1 there is no such process or socket, nobody listens there, access is denied, or a file
system does not answer; 2 the command line is wrong`;

/** In the environment of the process that looks. */
const LOOKS = 'FDPASSER_INSPECT_LOOKS';

type Exit = [code: number | null, signal: NodeJS.Signals | null];

export async function run(args: readonly string[]): Promise<number> {
  const options = { json: { type: 'boolean', default: false }, timeout: { type: 'string', default: '60' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const target = onlyOne(positionals, 'PID or PATH');
  if (process.platform !== 'linux')
    throw new Failure('inspect reads /proc, which only Linux has in this form. Use "lsof -p PID" or "lsof PATH" here');
  if (process.env[LOOKS] === undefined) return lookElsewhere(args, milliseconds('timeout', values.timeout)!);
  const told = /^\d+$/.test(target) ? ofProcess(Number(target)) : ofPath(target);
  console.log(values.json ? JSON.stringify(told.data, undefined, 2) : told.text);
  return OK;
}

/**
 * Looks in another process, and gives up when that takes too long. A path may be on a file system whose server does not
 * answer, and a process may have mapped such a file over its own arguments. No signal ends such a wait.
 */
async function lookElsewhere(args: readonly string[], timeout: number): Promise<number> {
  const command = [...process.execArgv, process.argv[1]!, 'inspect', ...args];
  const env = { ...process.env, [LOOKS]: '1' };
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'], env });
  child.stdout.pipe(process.stdout, { end: false });
  child.stderr.pipe(process.stderr, { end: false });
  try {
    const [code, signal] = (await once(child, 'close', { signal: AbortSignal.timeout(timeout) })) as Exit;
    return exitCode(code, signal);
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error;
    child.kill('SIGKILL'); // if it can be: it may be a while until it ends
    child.unref();
    child.stdout.destroy();
    child.stderr.destroy();
    throw new Failure(`There was no answer within ${timeout / 1000} s. Perhaps a file system hangs`);
  }
}

interface Told {
  readonly data: unknown;
  readonly text: string;
}

function ofProcess(pid: number): Told {
  const data = allowed(pid);
  return { data, text: openText(data) };
}

function allowed(pid: number): OpenOfProcess {
  try {
    return openOf(pid);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') throw new Failure(`There is no process ${pid}`);
    if (code === 'EACCES' || code === 'EPERM')
      throw new Failure(`Only its own user and root may see what process ${pid} has open`);
    throw error;
  }
}

function ofPath(path: string): Told {
  const sockets = boundTo(path);
  if (sockets.length === 0) throw new Failure(`Nobody listens at "${path}"`);
  return { data: { path, sockets }, text: boundText(sockets) };
}
