import type { ChildProcess, ForkOptions, SpawnOptions as ChildOptions } from 'node:child_process';
import { OwnedFd } from '../descriptor/owned-fd.js';
import { checkBoolean, invalidType, pick, type Names } from '../common/arguments.js';
import { badInheritance, checked, notOwned } from '../errors.js';
import { addon } from '../native/load.js';
import { builtin } from '../common/lazy-modules.js';
import { socketpair } from './pair.js';

/**
 * Options of `child_process.spawn` or, with `fork`, of `child_process.fork`. The child's end of the pair gets the first
 * number behind those in `stdio`.
 */
export interface SpawnOptions extends Omit<ChildOptions, 'stdio'>, Pick<ForkOptions, 'execPath' | 'silent'> {
  /** The option `stdio` of `child_process.spawn`. An OwnedFd may be an element too, and is lent for the call. */
  stdio?: ChildOptions['stdio'] | (Stdio[number] | OwnedFd)[] | undefined;
  /** Whether `command` is a module for Node, which also gets an IPC channel (`child_process.fork`). Default false. */
  fork?: boolean | undefined;
  /** The option `execArgv` of `child_process.fork`: flags for Node. */
  execArgv?: string[] | undefined;
  /** Whether the child's end is non-blocking. Default false, which most programs in Perl, Python or C expect. */
  nonblocking?: boolean | undefined;
}

export const SPAWN_OPTIONS: Names<SpawnOptions> = {
  stdio: true,
  fork: true,
  execArgv: true,
  nonblocking: true,
  execPath: true,
  silent: true,
  argv0: true,
  cwd: true,
  detached: true,
  env: true,
  gid: true,
  killSignal: true,
  serialization: true,
  shell: true,
  signal: true,
  timeout: true,
  uid: true,
  windowsHide: true,
  windowsVerbatimArguments: true,
};

/** The environment variable that tells a child its descriptor. `inherit` looks for it. */
const VARIABLE = 'FDPASSER_FD';
const UNNAMED = `${VARIABLE} is not set, so descriptor 3 was tried. Start this program by spawn()`;
/** The first number behind the standard streams. */
const FIRST = 3;

/**
 * Makes a pair, gives one end to `use`, which takes it over, and starts a child with the other end. The child's end is
 * closed here. If anything throws, no child was started, and nothing stays open.
 */
export function spawnWith<T extends { destroy(): unknown }>(
  command: string | URL,
  args: readonly string[],
  options: SpawnOptions,
  use: (end: OwnedFd) => T,
): { child: ChildProcess; end: T } {
  if (!Array.isArray(args)) throw invalidType('args', 'an array of strings', args);
  const { fork = false, nonblocking = false, ...rest } = pick(options, SPAWN_OPTIONS);
  checkBoolean('options.fork', fork);
  checkBoolean('options.nonblocking', nonblocking);
  const [ours, theirs] = socketpair();
  let end: T | undefined;
  try {
    end = use(ours);
    if (nonblocking) checked(addon.setNonblocking(theirs.fd), 'fcntl');
    return { child: (fork ? forked : spawned)(command, args, rest, theirs.fd), end };
  } catch (error) {
    if (end === undefined) ours.close();
    else end.destroy();
    throw error;
  } finally {
    theirs.close();
  }
}

function spawned(
  command: string | URL,
  args: readonly string[],
  options: Given<ChildOptions>,
  fd: number,
): ChildProcess {
  const stdio = standardStreams(options.stdio, 'pipe');
  const file = command instanceof URL ? builtin.url.fileURLToPath(command) : command;
  return builtin.childProcess.spawn(file, args, { ...options, ...placed(stdio, options.env, fd) });
}

function forked(module: string | URL, args: readonly string[], options: Given<ForkOptions>, fd: number): ChildProcess {
  const stdio = standardStreams(options.stdio, options.silent ? 'pipe' : 'inherit');
  if (!stdio.includes('ipc')) stdio.push('ipc');
  return builtin.childProcess.fork(module, args, { ...options, ...placed(stdio, options.env, fd) });
}

type Given<Options> = Omit<Options, 'stdio'> & Pick<SpawnOptions, 'stdio'>;
type Stdio = Extract<NonNullable<ChildOptions['stdio']>, readonly unknown[]>[number][];

function standardStreams(given: SpawnOptions['stdio'], otherwise: 'pipe' | 'inherit'): Stdio {
  const stdio: Stdio = Array.isArray(given)
    ? (given as readonly (Stdio[number] | OwnedFd)[]).map((entry) => (entry instanceof OwnedFd ? lent(entry) : entry))
    : Array.from({ length: FIRST }, () => given ?? otherwise);
  while (stdio.length < FIRST) stdio.push(otherwise);
  return stdio;
}

/** The number, because Bun and Deno do not accept an object with an `fd`. */
function lent(owned: OwnedFd): number {
  if (owned.closed) throw notOwned();
  return owned.fd;
}

function placed(
  stdio: Stdio,
  env: NodeJS.ProcessEnv | undefined,
  fd: number,
): { stdio: Stdio; env: NodeJS.ProcessEnv } {
  return { stdio: [...stdio, fd], env: { ...(env ?? process.env), [VARIABLE]: `${stdio.length}` } };
}

/**
 * Calls `use` with the number of the descriptor that the parent gave: the one given, else the one that `spawn` of this
 * library wrote into the environment, else 3. `use` takes the descriptor over. Then the variable is deleted, because it
 * is for one `inherit` and not for children of this process.
 */
export function inherited<T>(given: number | undefined, use: (fd: number) => T): T {
  const text = process.env[VARIABLE];
  if (given !== undefined) return use(given);
  if (text === undefined) {
    checked(addon.socketType(FIRST), 'getsockopt', { advice: UNNAMED });
    return use(FIRST);
  }
  if (!/^\d{1,9}$/.test(text)) throw badInheritance(text);
  const used = use(Number(text));
  delete process.env[VARIABLE];
  return used;
}
