import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { Failure } from '../command.js';
import { exitCode, notStarted } from '../program.js';
import { endClaims } from '../../takeover/claim.js';
import { familyOf } from './family.js';
import { launch } from './launch.js';
import { NotifySocket } from './notify-socket.js';
import type { Socket } from './sockets.js';

/** What runs, and how it is supervised. Times are in milliseconds. */
export interface Plan {
  readonly program: readonly string[];
  /** What the program listens on. */
  readonly sockets: readonly Socket[];
  /** Without sockets, a new one takes over the listeners of the old one by `fdpasser/takeover/register`. */
  readonly takesOver: boolean;
  readonly workers: number;
  /**
   * After this time a program that reports nothing counts as up. For this time after a takeover the old one can serve
   * again. It is also the shortest pause before a crashed program is started again.
   */
  readonly interval: number;
  /** Whether a program is up only when it sends READY=1. */
  readonly notify: boolean;
  /** A program that is not up after this time is given up. */
  readonly startTimeout: number;
  /** A program that still runs this long after it was told to end is killed. */
  readonly stopTimeout: number;
  /** The folder of the sockets to which programs send READY=1, and of the control path of takeovers. */
  readonly folder: string;
}

/** The longest drain of a process after a takeover: `drainTimeout` of `fdpasser/takeover`. */
const DRAIN_TIMEOUT = 30_000;

/** Milliseconds between two looks whether what serves still runs. */
const LOOK = 500;

/** One process of the program. */
export class Worker {
  readonly #plan: Plan;
  readonly #child: ChildProcess;
  /** Resolves when it can serve. Rejects with a `Failure` when it ends before that, or takes too long. */
  readonly up: Promise<void>;
  /** Resolves with its exit code, as a shell has it. */
  readonly ended: Promise<number>;
  /** The process that listens, if npm or a shell has started it. */
  #main: number | undefined;
  /** For how many looks that has been gone. */
  #gone = 0;
  #ready!: () => void;
  #told = false;
  #handingOver = false;
  #stays: () => void = () => {};
  readonly #claim: string;
  readonly #moved: () => void;

  /** Starts it. `name` is one that no other has. `moved` is called when another process of it serves. */
  constructor(plan: Plan, name: string, moved: () => void) {
    this.#plan = plan;
    this.#moved = moved;
    const notifySocket = `${plan.folder}/${name}`;
    this.#claim = `${notifySocket}.claim`;
    const said = new Promise<void>((resolve) => (this.#ready = resolve));
    const hear = new NotifySocket(notifySocket, (assignments) => this.#hear(assignments));
    this.#child = launch(plan, { notifySocket, claim: this.#claim });
    const looks = setInterval(() => this.#lookAfterMain(), LOOK);
    this.ended = endOf(this.#child).finally(() => {
      clearInterval(looks);
      hear.close();
      rmSync(this.#claim, { force: true });
    });
    this.up = waitUntilUp(plan, said, this.ended);
    this.up.catch(() => {}); // perhaps nobody waits for it any more
  }

  /** The pid of the process that serves. */
  get pid(): number {
    return this.#main ?? this.#child.pid ?? -1;
  }

  /** Whether it ends because it was told to. */
  get isToldToEnd(): boolean {
    return this.#told;
  }

  /** Whether another one takes over from it, and it has not come back. */
  get isHandingOver(): boolean {
    return this.#handingOver;
  }

  /** Resolves when it serves again after a takeover that failed, or has ended. */
  async staysOrEnds(): Promise<void> {
    if (this.#handingOver) await Promise.race([new Promise<void>((resolve) => (this.#stays = resolve)), this.ended]);
  }

  signal(signal: NodeJS.Signals): void {
    for (const pid of this.#hearers(signal)) kill(pid, signal);
  }

  /**
   * The processes that get a signal. It is the process that serves; npm or a shell in between ends with it. Before one
   * serves, nobody knows which it will be. So all are ended, and none can take over later.
   */
  #hearers(signal: NodeJS.Signals): number[] {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return [];
    if (!this.#plan.takesOver) return [pid];
    const family = familyOf(pid);
    if (signal === 'SIGKILL') return family;
    if (this.#main !== undefined && family.includes(this.#main)) return [this.#main];
    return signal === 'SIGUSR1' || signal === 'SIGUSR2' ? [] : family;
  }

  /** It was replaced and must end. If another has taken over from it, it ends by itself. */
  leave(): Promise<void> {
    const { takesOver, stopTimeout } = this.#plan;
    return takesOver ? this.stop(DRAIN_TIMEOUT + stopTimeout) : this.stop(stopTimeout, 'SIGTERM');
  }

  /** Tells it to end, unless it was told already, and resolves when it has ended. It is killed after `timeout`. */
  async stop(timeout: number, signal?: NodeJS.Signals): Promise<void> {
    this.#told = true;
    if (this.#plan.takesOver) endClaims(this.#claim); // what stands between may start another
    if (signal !== undefined) this.signal(signal);
    const timer = setTimeout(() => {
      console.error(`fdpasser: ${this.pid} still runs ${timeout / 1000} s after it was told to end, and is killed.`);
      this.signal('SIGKILL');
    }, timeout);
    await this.ended;
    clearTimeout(timer);
  }

  /**
   * What stands between may outlive what serves, as nodemon does. When it is told to end, or starts no other in time,
   * it is ended, too.
   */
  #lookAfterMain(): void {
    if (this.#main === undefined || isRunning(this.#main)) {
      this.#gone = 0;
      return;
    }
    this.#gone++;
    if (this.#told && this.#gone === 2) this.signal('SIGTERM');
    if (this.#told || this.#gone * LOOK <= this.#plan.startTimeout) return;
    console.error(`fdpasser: ${this.#main} has ended, and what started it started no other: that is killed.`);
    this.signal('SIGKILL');
  }

  /** `fdpasser/takeover` says which process serves, and READY when the old one cannot come back any more. */
  #hear(assignments: readonly string[]): void {
    if (assignments.includes('RELOADING=1')) this.#handingOver = true;
    if (!assignments.includes('READY=1')) return;
    if (this.#plan.takesOver) {
      const main = Number(assignments.find((line) => /^MAINPID=\d+$/.test(line))?.slice('MAINPID='.length));
      if (!(main > 1)) return; // the program's own, which may come before
      const before = this.#main;
      this.#main = main;
      if (before !== undefined && before !== main) this.#moved();
    }
    this.#handingOver = false;
    this.#stays();
    this.#ready();
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') process.emitWarning(error as Error); // it has just ended
  }
}

async function endOf(child: ChildProcess): Promise<number> {
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return exitCode(code, signal);
  } catch (error) {
    return notStarted(child.spawnfile, error as Error);
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
