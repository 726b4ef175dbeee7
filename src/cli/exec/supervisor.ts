import { Failure } from '../command.js';
import { named, PROGRAM_FAILURE } from '../program.js';
import { notify, type NotifyState } from '../../systemd/index.js';
import type { StatusFile } from './status-file.js';
import { Worker, type Plan } from './worker.js';

/** Reports progress to whoever asked for the replacement. */
export type Tell = (text: string) => void;

/** Why the program cannot be replaced. */
const NOT_NOW = {
  starting: 'The program is not up yet, so it cannot be replaced',
  replacing: 'Another replacement is under way',
  ending: 'exec is ending, and the program with it',
};

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
  /** How many workers crashed since all had been up for a while. */
  #crashes = 0;
  #restart: NodeJS.Timeout | undefined;
  #calm: NodeJS.Timeout | undefined;
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
      say(`The program did not get up: ${(error as Error).message}`);
      this.end();
    }
    return this.#ended;
  }

  /** Replaces the program because of a signal. If a replacement is under way, another follows it. */
  reload(): void {
    if (this.#state === 'replacing') this.#again = true;
    else this.replace(say).catch(() => {}); // it was said
  }

  /**
   * Starts the program again and, when the new one is up, tells the old one to end. Resolves when the old one has
   * ended. Rejects with a `Failure` when the new one does not get up: the old one then goes on.
   */
  async replace(tell: Tell): Promise<void> {
    try {
      await this.#replace(tell);
    } catch (error) {
      say((error as Error).message);
      throw error;
    }
  }

  async #replace(tell: Tell): Promise<void> {
    if (this.#state !== 'serving') throw new Failure(NOT_NOW[this.#state]);
    this.#state = 'replacing';
    tellManager({ RELOADING: 1 });
    let old: Worker[];
    try {
      old = await this.#startGeneration();
    } catch (error) {
      await Promise.all(this.#current.map((worker) => worker.staysOrEnds()));
      throw new Failure(`Rolled back: ${(error as Error).message}. ${these(this.#current, 'goes', 'go')} on serving`);
    } finally {
      this.#settle();
    }
    const leave = this.#plan.takesOver
      ? these(old, 'drains', 'drain')
      : these(old, 'is told to end', 'are told to end');
    tell(`${these(this.#current, 'serves', 'serve')}, and ${leave}`);
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
    this.#settleLater();
    if (this.#current.length < this.#plan.workers) this.#refillLater();
    if (!this.#again) return;
    this.#again = false;
    setImmediate(() => this.reload());
  }

  async #drain(old: readonly Worker[], tell: Tell): Promise<void> {
    let left = old.length;
    await Promise.all(
      old.map(async (worker) => {
        await worker.ended;
        left--;
        tell(
          `${worker.pid} has ended${left === 0 ? '' : `; ${left} of ${old.length} ${left === 1 ? 'is' : 'are'} left`}`,
        );
      }),
    );
  }

  /** Ends those that are not ready yet: they serve nobody, and have the places of new ones. Others are soon up. */
  async #makeRoom(): Promise<void> {
    if (!this.#plan.takesOver) return; // without a takeover no place must be free
    for (const worker of this.#current) if (!worker.goes) worker.signal('SIGKILL');
    await Promise.allSettled(this.#current.map(({ up }) => up));
  }

  /**
   * Resolves with the workers that it replaces, when all of the new ones are up. If one does not prove that it serves,
   * all of them are ended. One that does not get up after that has crashed; if none does, the old ones are still those
   * that serve.
   */
  async #startGeneration(): Promise<Worker[]> {
    await this.#makeRoom();
    this.#checkNotEnding();
    const workers: Worker[] = [];
    try {
      for (const slot of this.#slots) workers.push(this.#start(slot));
      await this.#prove(workers);
      this.#checkNotEnding();
    } catch (error) {
      await Promise.all(workers.map((worker) => this.#giveUp(worker, error as Error)));
      throw error;
    }
    const old = this.#current;
    this.#current = workers;
    this.#generation++;
    const ends = await Promise.all(workers.map((worker) => this.#confirm(worker)));
    this.#checkNotEnding();
    const failures = ends.filter((end) => end !== undefined);
    if (failures.length === workers.length) {
      this.#current = old.filter((worker) => this.#running.has(worker));
      this.#generation--;
      this.#writeStatus();
      throw failures[0]!;
    }
    this.#gotUp();
    return old;
  }

  /**
   * Lets one that has proved that it serves do so for good: who had its place must end. Resolves when that is so, or
   * with the reason when it has crashed.
   */
  async #confirm(worker: Worker): Promise<Error | undefined> {
    worker.confirm();
    try {
      await worker.up;
    } catch (error) {
      worker.signal('SIGKILL'); // if it has not ended already
      await worker.ended;
      return error as Error;
    }
    for (const other of this.#running)
      if (other !== worker && other.slot === worker.slot && !other.isToldToEnd) void other.leave();
    return undefined;
  }

  #checkNotEnding(): void {
    if (this.#state === 'ending') throw new Failure('a signal ended it');
  }

  /** None serves before all are ready. */
  async #prove(workers: readonly Worker[]): Promise<void> {
    await Promise.all(workers.map(({ ready }) => ready));
    for (const worker of workers) worker.go();
    await Promise.all(workers.map(({ proved }) => proved));
    const lost = workers.find((worker) => !this.#running.has(worker));
    if (lost !== undefined) throw new Failure(`it ended with ${named(await lost.ended)} before all were up`);
  }

  #giveUp(worker: Worker, why: Error): Promise<void> {
    return this.#generation === 0 ? worker.stop(this.#plan.stopTimeout, 'SIGTERM') : worker.giveUp(why);
  }

  get #serving(): Worker[] {
    return this.#current.filter(({ isUp }) => isUp);
  }

  get #slots(): number[] {
    return Array.from({ length: this.#plan.workers }, (_, slot) => slot);
  }

  #start(slot: number): Worker {
    const worker = new Worker(this.#plan, slot, `${++this.#started}`, () => this.#moved(worker));
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
    const failed = code !== 0 || worker.isUp || worker.isToldToEnd; // by its code
    if (failed && (served || (this.#state === 'starting' && !worker.isToldToEnd))) this.#code ??= code;
    if (this.#state === 'ending') this.#overIfNoneRuns();
    else if (served && code === 0 && worker.isUp && !worker.isHandingOver) this.#endedByItself(worker);
    else if (served) this.#crashed(worker, code);
  }

  #endedByItself(worker: Worker): void {
    say(`${worker.pid} has ended by itself with 0, so exec ends too`);
    this.end('SIGTERM');
  }

  #crashed(worker: Worker, code: number): void {
    say(`${worker.pid} ended with ${named(code)}`);
    this.#code = undefined;
    this.#writeStatus();
    this.#startLater();
  }

  /** After a longer pause each time, until all have been up for a while. */
  #startLater(): void {
    clearTimeout(this.#calm);
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
    const taken = new Set(this.#current.map(({ slot }) => slot));
    for (const slot of this.#slots) if (!taken.has(slot)) this.#startAgain(slot);
  }

  #startAgain(slot: number): void {
    let worker: Worker;
    try {
      worker = this.#start(slot);
    } catch (error) {
      say(`The program was not started: ${(error as Error).message}`);
      this.#startLater();
      return;
    }
    this.#current.push(worker);
    this.#prove([worker]).then(
      async () => {
        await this.#confirm(worker);
        if (!worker.isUp) return;
        this.#gotUp();
        this.#settleLater();
      },
      () => worker.signal('SIGKILL'), // if it has not ended already; this counts as a crash
    );
  }

  #gotUp(): void {
    this.#writeStatus();
    say(`${these(this.#serving, 'serves', 'serve')}, generation ${this.#generation}`);
  }

  #settleLater(): void {
    clearTimeout(this.#calm);
    this.#calm = setTimeout(() => this.#settled(), this.#plan.interval).unref();
  }

  /**
   * If all are up, none crashes any more. Closes what the program before had asked for, or one that was given up, and
   * this one has not.
   */
  #settled(): void {
    const serving = this.#serving;
    if (this.#state !== 'serving' || serving.length < this.#plan.workers) return;
    this.#crashes = 0;
    this.#plan.listeners.closeUnused((user) => serving.some((worker) => worker.has(user)));
  }

  /** A failure to write it is no reason to stop serving. */
  #writeStatus(): void {
    const pids = this.#serving.map(({ pid }) => pid);
    this.#status.write(this.#generation, pids, ({ message }) => say(`The status file was not written yet: ${message}`));
  }

  #overIfNoneRuns(): void {
    if (this.#running.size === 0) this.#over(this.#code ?? PROGRAM_FAILURE);
  }
}

/** The pids, and what one of them does, or several do. */
function these(workers: readonly Worker[], does: string, several: string): string {
  const pids = workers.length === 0 ? 'nobody' : workers.map(({ pid }) => pid).join(', ');
  return `${pids} ${workers.length > 1 ? several : does}`;
}

function say(text: string): void {
  console.error(`fdpasser: ${text}.`);
}

/** A failure to tell the manager is no reason to stop serving. */
function tellManager(state: NotifyState): void {
  notify(state).catch((error: Error) => say(`The service manager was not told: ${error.message}`));
}
