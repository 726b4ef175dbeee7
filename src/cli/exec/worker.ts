import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { attempt } from '../../common/attempt.js';
import { Failure } from '../command.js';
import { exitCode, named, notStarted } from '../program.js';
import { endClaims } from '../../takeover/claim.js';
import { Desk } from './desk.js';
import { familyOf } from './family.js';
import { launch } from './launch.js';
import type { Listeners, User } from './listeners.js';
import { NotifySocket } from './notify-socket.js';
import type { Socket } from './sockets.js';

/** What runs, and how it is supervised. Times are in milliseconds. */
export interface Plan {
  readonly program: readonly string[];
  /** What the program listens on. */
  readonly sockets: readonly Socket[];
  /** Without sockets, a new one takes over from the old one by `fdpasser/takeover/register`. */
  readonly takesOver: boolean;
  /** What such programs listen on. */
  readonly listeners: Listeners;
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

/** Why a program that takes over is not up. */
const MUTE = 'no Node process of it listened, and a program in another language needs --listen';

/** Milliseconds between two looks whether what serves still runs. */
const LOOK = 500;

/** One process of the program. */
export class Worker {
  /** Its place among the workers. It takes over from the one that had the same place. */
  readonly slot: number;
  readonly #plan: Plan;
  readonly #child: ChildProcess;
  readonly #desk: Desk;
  /** Resolves when it is ready to serve, and waits for `go()`. Rejects as `up` does. */
  readonly ready: Promise<void>;
  /** Resolves when it has proved that it serves. Rejects with a `Failure` when it ends before, or takes too long. */
  readonly proved: Promise<void>;
  /** Resolves when it has proved that, and `confirm()` lets it serve for good. Rejects as `proved` does. */
  readonly up: Promise<void>;
  #isUp = false;
  /** Whether it may serve. */
  #goes = false;
  /** Resolves with its exit code, as a shell has it. */
  readonly ended: Promise<number>;
  /** The process that listens, if npm or a shell has started it. */
  #main: number | undefined;
  /** For how many looks that has been gone. */
  #gone = 0;
  #say!: () => void;
  /** Resolves when it has said READY. */
  readonly #said = new Promise<void>((resolve) => (this.#say = resolve));
  #confirm!: () => void;
  readonly #confirmed = new Promise<void>((resolve) => (this.#confirm = resolve));
  /** Whether it asked the old one to agree that it serves for good. */
  #confirming = false;
  #told = false;
  #handingOver = false;
  #stays: () => void = () => {};
  readonly #claim: string;
  readonly #moved: () => void;

  /**
   * Starts it. `name` is one that no other has. `moved` is called when another process of it serves. Throws when this
   * process has no descriptor left for it.
   */
  constructor(plan: Plan, slot: number, name: string, moved: () => void) {
    this.#plan = plan;
    this.slot = slot;
    this.#moved = moved;
    const notifySocket = `${plan.folder}/${name}`;
    this.#claim = `${notifySocket}.claim`;
    const keeper = `${notifySocket}.keeper`;
    const control = `${plan.folder}/control.${slot}`;
    const hear = new NotifySocket(notifySocket, (assignments) => this.#hear(assignments));
    let desk: Desk | undefined;
    try {
      desk = new Desk(keeper, plan.listeners, {
        serves: (pid) => this.#note(pid),
        confirming: () => (this.#confirming = true),
        up: (pid) => {
          this.#note(pid);
          this.#noteReady();
        },
        reloading: () => (this.#handingOver = true),
      });
      this.#child = launch(plan, { notifySocket, claim: this.#claim, keeper, control });
    } catch (error) {
      hear.close();
      desk?.close();
      throw error;
    }
    this.#desk = desk;
    const looks = setInterval(() => this.#lookAfterMain(), LOOK);
    this.ended = endOf(this.#child).finally(() => {
      clearInterval(looks);
      hear.close();
      this.#desk.close();
      rmSync(this.#claim, { force: true });
    });
    const { takesOver, notify, interval } = plan;
    const served = takesOver ? this.#serves() : passed(interval);
    const listens = takesOver ? Promise.race([this.#said, this.#desk.ready.reached]) : Promise.resolve();
    this.ready = this.#inTime(listens, `: ${MUTE}`);
    const proves = notify ? this.#said : Promise.race([this.#said, served]);
    this.proved = this.#inTime(proves, notify ? ': it sent no READY=1' : '');
    this.up = this.#getsUp();
    for (const step of [this.ready, this.proved]) step.catch(() => {}); // perhaps nobody waits for it any more
    this.up.then(
      () => (this.#isUp = true),
      () => {}, // the same
    );
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  get goes(): boolean {
    return this.#goes;
  }

  /** Lets it serve. */
  go(): void {
    this.#goes = true;
    this.#desk.ready.open();
  }

  /** Lets it serve for good. */
  confirm(): void {
    this.#desk.serving.open();
    this.#confirm();
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

  /** Whether this process is one of it. */
  has(user: User): boolean {
    return this.#desk.has(user);
  }

  /**
   * It is not to replace the old one after all. If it may serve already, and has not closed its servers, the old one
   * serves again, and this one ends when the connections here have ended; else it is told to end, and this resolves
   * when it has ended.
   */
  async giveUp(why: Error): Promise<void> {
    const { stopTimeout } = this.#plan;
    const { ready, serving } = this.#desk;
    this.#desk.dismiss();
    const refusal = new Failure(`The replacement was rolled back: ${why.message}`);
    ready.shut(refusal);
    serving.shut(refusal);
    if (this.#goes && ready.isReached) void this.stop(DRAIN_TIMEOUT + stopTimeout);
    else await this.stop(stopTimeout, 'SIGTERM');
  }

  /** It was replaced and must end. If another has taken over from it, it ends by itself. */
  leave(): Promise<void> {
    const { takesOver, stopTimeout } = this.#plan;
    return takesOver ? this.stop(DRAIN_TIMEOUT + stopTimeout) : this.stop(stopTimeout, 'SIGTERM');
  }

  /** Tells it to end, unless it was told already, and resolves when it has ended. It is killed after `timeout`. */
  async stop(timeout: number, signal?: NodeJS.Signals): Promise<void> {
    this.#told = true;
    if (this.#plan.takesOver) attempt(() => endClaims(this.#claim)); // what stands between may start another
    if (signal !== undefined) this.signal(signal);
    this.signal('SIGCONT'); // one that is stopped could not end, nor give back what it took over
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

  /**
   * `fdpasser/takeover` says which process serves, and READY when the old one cannot come back any more. A process that
   * has a keeper tells the desk.
   */
  #hear(assignments: readonly string[]): void {
    if (assignments.includes('RELOADING=1')) this.#handingOver = true;
    if (!assignments.includes('READY=1')) return;
    if (this.#plan.takesOver) {
      const main = Number(assignments.find((line) => /^MAINPID=\d+$/.test(line))?.slice('MAINPID='.length));
      if (!(main > 1)) return; // the program's own, which may come before
      this.#note(main);
    }
    this.#noteReady();
  }

  #noteReady(): void {
    this.#handingOver = false;
    this.#stays();
    this.#say();
  }

  /** This process serves. */
  #note(main: number): void {
    const before = this.#main;
    this.#main = main;
    if (before !== undefined && before !== main) this.#moved();
  }

  /** Resolves when it has served for a while, and not closed its servers since. */
  async #serves(): Promise<void> {
    const { serving } = this.#desk;
    let reached: Promise<void>;
    do {
      reached = serving.reached;
      await reached;
      await passed(this.#plan.interval);
    } while (serving.reached !== reached);
  }

  /**
   * One that has closed its servers has left its takeover, and must listen again in time. One that has asked the old
   * one to agree waits for that one, which is killed after it was told to end.
   */
  async #getsUp(): Promise<void> {
    await this.proved;
    await this.#unlessEnded(this.#confirmed);
    if (!this.#plan.takesOver) return;
    await this.#inTime(this.#said, '', () => this.#confirming && this.#desk.serving.isReached);
  }

  /** Rejects when the process ends before, or when it takes too long and that is not `forgiven`. */
  async #inTime(step: Promise<void>, reason: string, forgiven = () => false): Promise<void> {
    const { startTimeout } = this.#plan;
    let timer: NodeJS.Timeout | undefined;
    const why = `it was not up within ${startTimeout / 1000} s${reason}`;
    const late = new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => (forgiven() ? resolve() : reject(new Failure(why))), startTimeout);
    });
    try {
      await this.#unlessEnded(Promise.race([step, late]));
    } finally {
      clearTimeout(timer);
    }
  }

  async #unlessEnded(step: Promise<void>): Promise<void> {
    const code = await Promise.race([step, this.ended]);
    if (code !== undefined) throw new Failure(`it ended with ${named(code)} before it was up`);
  }
}

/** Resolves after so many milliseconds, unless this process ends before. */
function passed(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
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
