import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Failure } from '../command.js';
import { exitCode, notStarted } from '../program.js';
import { NotifySocket } from './notify-socket.js';
import type { Socket } from './sockets.js';

/** What runs, and how it is seen to. Times are in milliseconds. */
export interface Plan {
  readonly program: readonly string[];
  readonly sockets: readonly Socket[];
  readonly workers: number;
  /** A program that says nothing is up after so long; the shortest pause before one that crashed is started again. */
  readonly interval: number;
  /** It is up when it says READY=1, and not before. */
  readonly notify: boolean;
  /** One that is not up after so long is given up. */
  readonly startTimeout: number;
  /** One that still runs so long after it was told to end is killed. */
  readonly stopTimeout: number;
  /** For the sockets on which programs say READY=1. */
  readonly folder: string;
}

/** exec of the shell keeps the pid, which LISTEN_PID must be. */
const WITH_OWN_PID = 'export LISTEN_PID=$$; exec "$@"';

/** Variables that concern this process alone. */
const OWN = new Set(['NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC']);

/** One process of the program. */
export class Worker {
  readonly #child: ChildProcess;
  /** Resolves when it can serve. Rejects with a `Failure` when it ends before, or takes too long. */
  readonly up: Promise<void>;
  /** Resolves with its exit code, as a shell has it. */
  readonly ended: Promise<number>;
  #told = false;

  /** Starts it. `name` is one that no other has. */
  constructor(plan: Plan, name: string) {
    const path = `${plan.folder}/${name}`;
    let ready: (() => void) | undefined;
    const said = new Promise<void>((resolve) => (ready = resolve));
    const hear = new NotifySocket(path, (assignments) => assignments.includes('READY=1') && ready?.());
    this.#child = launch(plan, path);
    this.ended = endOf(this.#child).finally(() => hear.close());
    this.up = waitUntilUp(plan, said, this.ended);
    this.up.catch(() => {}); // perhaps nobody asks any more
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Whether it ends because it was told to. */
  get isToldToEnd(): boolean {
    return this.#told;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Tells it to end, unless the terminal has done that, and resolves when it has. It is killed after `timeout`. */
  async stop(timeout: number, signal?: NodeJS.Signals): Promise<void> {
    this.#told = true;
    if (signal !== undefined) this.signal(signal);
    const timer = setTimeout(() => {
      console.error(`fdpasser: ${this.pid} still runs ${timeout / 1000} s after it was told to end, and is killed.`);
      this.signal('SIGKILL');
    }, timeout);
    await this.ended;
    clearTimeout(timer);
  }
}

function launch({ program, sockets }: Plan, notifySocket: string): ChildProcess {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OWN.has(name)));
  return spawn('/bin/sh', ['-c', WITH_OWN_PID, 'sh', ...program], {
    stdio: ['inherit', 'inherit', 'inherit', ...sockets.map(({ held }) => held.fd)],
    env: {
      ...env,
      NOTIFY_SOCKET: notifySocket,
      LISTEN_FDS: `${sockets.length}`,
      LISTEN_FDNAMES: sockets.map(({ name }) => name).join(':'),
    },
  });
}

async function endOf(child: ChildProcess): Promise<number> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return exitCode(code, signal);
  } catch (error) {
    return notStarted('/bin/sh', error as Error);
  }
}

async function waitUntilUp(plan: Plan, said: Promise<void>, ended: Promise<number>): Promise<void> {
  const timers: NodeJS.Timeout[] = [];
  const after = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => timers.push(setTimeout(resolve, milliseconds)));
  const up = plan.notify ? said : Promise.race([said, after(plan.interval)]);
  const late = after(plan.startTimeout).then(() => `it was not up within ${plan.startTimeout / 1000} s`);
  const gone = ended.then((code) => `it ended with ${code} before it was up`);
  const failure = await Promise.race([up, late, gone]);
  timers.forEach((timer) => clearTimeout(timer));
  if (failure !== undefined) throw new Failure(failure);
}
