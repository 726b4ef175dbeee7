import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { FAILED, OK } from '../command.js';

export const help = `usage: fdpasser build

Compiles the C core of the installed fdpasser for this system, with cc or the compiler that CC names. The core takes
its place only when it is whole and loads: a build that fails changes nothing.

exit codes: 0 it is compiled and loads; 1 it could not be compiled, or does not load; 2 the command line is wrong`;

export async function run(args: readonly string[]): Promise<number> {
  parseArgs({ args: [...args] });
  const { compileHere } = await import('../compile-core.js');
  try {
    console.log(`Compiled ${compileHere(['-O2'], load)}, and it loads.`);
    return OK;
  } catch (error) {
    console.error(reason(error as CompilerError));
    return FAILED;
  }
}

/**
 * Loads the core in another process, which it may crash. Flags of this process that forbid addons do not apply there.
 */
function load(file: string): void {
  const name = JSON.stringify(file);
  const program = `process.getBuiltinModule('node:module').createRequire(${name})(${name})`;
  const evaluate = 'deno' in process.versions ? 'eval' : '-e';
  const env = { ...process.env, NODE_OPTIONS: '' };
  const { error, status, signal, stderr } = spawnSync(process.execPath, [evaluate, program], { env, encoding: 'utf8' });
  if (status === 0) return;
  const why = error?.message ?? (stderr.trim() || `the process that tried ended with ${signal ?? status}`);
  throw new Error(`It was compiled but does not load, so the core that was there before stays: ${why}`);
}

/** What `execFileSync` throws. */
type CompilerError = NodeJS.ErrnoException & { status?: number | null; signal?: NodeJS.Signals | null };

function reason(error: CompilerError): string {
  const compiler = process.env['CC'] ?? 'cc';
  if (error.code === 'ENOENT' && error.syscall?.startsWith('spawn'))
    return `There is no C compiler "${compiler}" here. Install one, or name another in CC.`;
  if (error.syscall?.startsWith('spawn')) return `The C compiler "${compiler}" cannot be started: ${error.message}.`;
  if (error.signal) return `${compiler} was killed by ${error.signal}.`;
  if (error.status) return `${compiler} failed; see its messages above.`;
  return error.message;
}
