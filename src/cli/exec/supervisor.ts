import { Failure } from '../command.js';
import { PROGRAM_FAILURE } from '../program.js';
import { notify, type NotifyState } from '../../systemd/index.js';
import type { StatusFile } from './status-file.js';
import { Worker, type Plan } from './worker.js';

/** Reports progress to whoever asked for the replacement. */
export type Tell = (text: string) => void;

/** The longest pause before a program that keeps crashing is started again, in milliseconds. */
const LONGEST_PAUSE = 60_000;

/**
 * Keeps a program running. A new one takes over when it is up; if it does not get up, nothing changes. With sockets
 * that outlive the program, connections wait and are not refused, whatever happens to the program.
 */
export class Supervisor {
  readonly #plan: Plan;
  readonly #status: StatusFile;
  #state: 'starting' | 'serving' | 'replacing' | 'ending' = 'starting';
  /** Whether another replacement follows this one: the program may have changed meanwhile. */
  #again = false;
  #generation = 0;
  #started = 0;
  /** The workers that serve: those of the last generation that got up, or started in place of one of them. */
  #current: Worker[] = [];
  /** All workers that run. */
  readonly #running = new Set<Worker>();
  /** How many workers crashed since one got up. */
  #crashes = 0;
  #restart: NodeJS.Timeout | undefined;
  /** The exit code of the first that ended, except those that were given up or replaced. */
  #code: number | undefined;
  #over!: (code: number) => void;
  readonly #ended = new Promise<number>((resolve) => (this.#over = resolve));

  constructor(plan: Plan, status: StatusFile) {
    this.#plan = plan;
    this.#status = status;
  }

  /**
   * Starts the program, and resolves with its exit code when all is over. If the first does not get up, all is over.
   */
  async run(): Promise<number> {
    try {
      await this.#startGeneration();
      this.#settle();
    } catch (error) {
      say(`The program was not started: ${(error as Error).message}`);
      this.end();
    }
    return this.#ended;
  }

  /** Replaces the program because of a signal. If a replacement is under way, another follows it. */
  reload(): void {
    if (this.#state === 'replacing') this.#again = true;
    else this.replace(say).catch((error: Error) => say(error.message));
  }

  /**
   * Starts the program again and, when the new one is up, tells the old one to end. Resolves when the old one has
   * ended. Rejects with a `Failure` when the new one does not get up: the old one then goes on.
   */
  async replace(tell: Tell): Promise<void> {
    if (this.#state !== 'serving') throw new Failure(`The program is ${this.#state} already`);
    this.#state = 'replacing';
    tellManager({ RELOADING: 1 });
    let old: Worker[];
    try {
      old = await this.#startGeneration();
    } catch (error) {
      await Promise.all(this.#current.map((worker) => worker.staysOrEnds()));
      throw new Failure(`Rolled back: ${(error as Error).message}. ${named(this.#current)} goes on serving`);
    } finally {
      this.#settle();
    }
    tell(`${named(this.#current)} serves, and ${named(old)} ${this.#plan.takesOver ? 'drains' : 'is told to end'}`);
    await this.#drain(old, tell);
  }

  /**
   * Tells all to end, with this signal, or without one if the terminal has sent it. Another call passes the signal on.
   */
  end(signal?: NodeJS.Signals): void {
    if (this.#state === 'ending') {
      if (signal !== undefined) this.signal(signal);
      return;
    }
    this.#state = 'ending';
    clearTimeout(this.#restart);
    tellManager({ STOPPING: 1 });
    for (const worker of this.#running) void worker.stop(this.#plan.stopTimeout, signal);
    this.#overIfNoneRuns();
  }

  /** Passes a signal on to all that run. */
  signal(signal: NodeJS.Signals): void {
    for (const worker of this.#running) worker.signal(signal);
  }

  /** The workers serve as they are now. */
  #settle(): void {
    if (this.#state === 'ending') return;
    this.#state = 'serving';
    tellManager({ READY: 1 });
    if (this.#current.length < this.#plan.workers) this.#refillLater();
    if (!this.#again) return;
    this.#again = false;
    setImmediate(() => this.reload());
  }

  async #drain(old: readonly Worker[], tell: Tell): Promise<void> {
    let left = old.length;
    await Promise.all(
      old.map(async (worker) => {
        await worker.leave();
        left--;
        tell(`${worker.pid} has ended${left === 0 ? '' : `; ${left} of ${old.length} are left`}`);
      }),
    );
  }

  /**
   * Resolves with the workers that it replaces, when all of the new ones are up. If one does not get up, all of them
   * are ended.
   */
  async #startGeneration(): Promise<Worker[]> {
    const workers = Array.from({ length: this.#plan.workers }, () => this.#start());
    try {
      await Promise.all(workers.map(({ up }) => up));
      if (this.#state === 'ending') throw new Failure('a signal ended it');
    } catch (error) {
      await Promise.all(workers.map((worker) => worker.stop(this.#plan.stopTimeout, 'SIGTERM')));
      throw error;
    }
    const old = this.#current;
    this.#current = workers;
    this.#generation++;
    this.#gotUp();
    return old;
  }

  #start(): Worker {
    const worker = new Worker(this.#plan, `${++this.#started}`, () => this.#moved(worker));
    this.#running.add(worker);
    void worker.ended.then((code) => this.#onEnd(worker, code));
    return worker;
  }

  /** What stands between has started another in the place of one that ended. */
  #moved(worker: Worker): void {
    if (!this.#current.includes(worker)) return;
    this.#writeStatus();
    say(`${worker.pid} serves, in the place of one that its launcher had started before`);
  }

  #onEnd(worker: Worker, code: number): void {
    this.#running.delete(worker);
    const served = this.#current.includes(worker);
    this.#current = this.#current.filter((other) => other !== worker);
    if (served || (this.#state === 'starting' && !worker.isToldToEnd)) this.#code ??= code;
    if (this.#state === 'ending') this.#overIfNoneRuns();
    else if (served && code === 0 && !worker.isHandingOver) this.#endedByItself(worker);
    else if (served) this.#crashed(worker, code);
  }

  #endedByItself(worker: Worker): void {
    say(`${worker.pid} has ended by itself with 0, so exec ends too`);
    this.end('SIGTERM');
  }

  #crashed(worker: Worker, code: number): void {
    say(`${worker.pid} ended with ${code}`);
    this.#code = undefined;
    this.#crashes++;
    if (this.#state === 'serving') this.#refillLater();
  }

  #refillLater(): void {
    if (this.#restart !== undefined) return;
    const pause = Math.min(this.#plan.interval * 2 ** Math.max(this.#crashes - 1, 0), LONGEST_PAUSE);
    say(`The program is started again in ${pause / 1000} s`);
    this.#restart = setTimeout(() => {
      this.#restart = undefined;
      if (this.#state === 'serving') this.#refill();
    }, pause);
  }

  #refill(): void {
    while (this.#current.length < this.#plan.workers) {
      const worker = this.#start();
      this.#current.push(worker);
      worker.up.then(
        () => this.#gotUp(),
        () => worker.signal('SIGKILL'), // if it has not ended already; this counts as a crash
      );
    }
  }

  #gotUp(): void {
    this.#crashes = 0;
    this.#writeStatus();
    say(`${named(this.#current)} serves, generation ${this.#generation}`);
  }

  /** A failure to write it is no reason to stop serving. */
  #writeStatus(): void {
    try {
      this.#status.write(
        this.#generation,
        this.#current.map(({ pid }) => pid),
      );
    } catch (error) {
      say(`The status file was not written: ${(error as Error).message}`);
    }
  }

  #overIfNoneRuns(): void {
    if (this.#running.size === 0) this.#over(this.#code ?? PROGRAM_FAILURE);
  }
}

function named(workers: readonly Worker[]): string {
  return workers.length === 0 ? 'nobody' : workers.map(({ pid }) => pid).join(', ');
}

function say(text: string): void {
  console.error(`fdpasser: ${text}.`);
}

/** A failure to tell the manager is no reason to stop serving. */
function tellManager(state: NotifyState): void {
  notify(state).catch((error: Error) => say(`The service manager was not told: ${error.message}`));
}
