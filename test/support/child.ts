import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { needs } from './needs.js';

export interface ChildOptions {
  args?: string[];
  /** What the child has as descriptor 3. */
  peer?: { readonly fd: number };
  /** The soft and the hard limit of descriptors: Node raises the soft to the hard one. */
  descriptors?: number;
  execArgv?: string[];
  /** A command that runs the command after it. */
  under?: string[];
  /** Added to this process's own. */
  env?: Record<string, string>;
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/**
 * Starts `test/<folder>/children/<name>.ts`, named `'<folder>/<name>'`, as a Node process. It talks to its parent on
 * standard output, and on an IPC channel as descriptor 4.
 */
export function startChild(name: string, options: ChildOptions = {}): ChildProcess {
  const script = fileURLToPath(new URL(`../${name.replace('/', '/children/')}.js`, import.meta.url));
  const command = [
    ...(options.under ?? []),
    process.execPath,
    ...(options.execArgv ?? []),
    script,
    ...(options.args ?? []),
  ];
  const stdio: SpawnOptions['stdio'] = ['ignore', 'pipe', 'pipe', options.peer?.fd ?? 'ignore', 'ipc'];
  const env = { ...process.env, ...options.env };
  return options.descriptors === undefined
    ? spawn(command[0]!, command.slice(1), { stdio, env })
    : spawn('sh', ['-c', `ulimit -n ${options.descriptors} && exec "$@"`, 'sh', ...command], { stdio, env });
}

/** Runs a Python program, without the guard. It has `socket` as descriptor 3, and pipes for the rest. */
export function startPython(program: string, socket: { readonly fd: number }): ChildProcess {
  needs('python3');
  const { LD_PRELOAD: _, ...env } = process.env;
  return spawn('python3', ['-c', program], { env, stdio: ['pipe', 'pipe', 'pipe', socket.fd] });
}

/** Waits for a child's end, with all it wrote. */
export async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, stdout, stderr };
}

/** The next message of a child on its IPC channel. */
export async function message<T>(child: ChildProcess): Promise<T> {
  const [value] = (await once(child, 'message')) as [T];
  return value;
}
