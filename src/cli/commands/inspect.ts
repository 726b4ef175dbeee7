import { parseArgs } from 'node:util';
import { Failure, OK, onlyOne } from '../command.js';
import { boundTo } from '../inspect/bound.js';
import { openOf, type OpenOfProcess } from '../inspect/open.js';
import { boundText, openText } from '../inspect/text.js';

export const help = `usage: fdpasser inspect [--json] PID|PATH

Shows what a process has open: the kinds, the addresses of sockets and what lies in them unread. Or shows which
processes have the Unix socket at a path, and who made it. It reads /proc, asks no file system, takes nothing and
connects to nothing.

  PID      a process of the same user; root may inspect all
  PATH     a Unix socket; @NAME is an abstract name. A path that is a number is written ./1
  --json   output for programs

exit codes: 0 it was shown; 1 there is no such process or socket, nobody listens there, or access is denied; 2 the
command line is wrong`;

export async function run(args: readonly string[]): Promise<number> {
  const options = { json: { type: 'boolean', default: false } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const target = onlyOne(positionals, 'PID or PATH');
  if (process.platform !== 'linux')
    throw new Failure('inspect reads /proc, which only Linux has in this form. Use "lsof -p PID" or "lsof PATH" here');
  const told = /^\d+$/.test(target) ? ofProcess(Number(target)) : ofPath(target);
  console.log(values.json ? JSON.stringify(told.data, undefined, 2) : told.text);
  return OK;
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
