/**
 * Passes descriptors between several processes, over random wires and topologies, while table limits rise and fall and
 * threads take slots; then says whether any was lost.
 *
 * npm run soak -- --descriptors N --seconds S [--seed X]
 *
 * It ends at the first of the two limits, or at SIGINT. The seed repeats the actions, but not their timing.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { FdChannel, OwnedFd, socketpair } from 'fdpasser';
import { Random } from '../support/random.js';
import { chooseLanes, type Lane, type Order, type Pool, type Report } from './plan.js';

const { values } = parseArgs({
  options: {
    descriptors: { type: 'string', default: '10000000' },
    seconds: { type: 'string', default: '600' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const wanted = Number(values.descriptors);
const seconds = Number(values.seconds);
const random = new Random(Number(values.seed));
if (!(wanted > 0 && seconds > 0 && random.seed >= 0))
  throw new Error('usage: npm run soak -- [--descriptors N] [--seconds S] [--seed X]');

const WORKERS = 4;
/** How many files each worker sends in turn. If half as many were lost in a row, that could not be recognised. */
const FILES = 1021;
const NOBODY = 65_534;
const ROOT = process.getuid!() === 0;
/** What Node raises its own limit to. */
const LIMIT = Number(/^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))![1]);
/** One worker makes room for a new one after so many episodes. */
const SHIFT = 25;
/** In milliseconds, far longer than any episode takes: one that takes so long hangs. */
const HANG = 120_000;

const counts = { sent: 0, received: 0, lost: 0, doubled: 0, 'out of order': 0, leaked: 0 };
const hardships = { episodes: 0, lanes: 0, exhausted: 0, 'slots taken': 0, 'limits set': 0 };
const began = performance.now();
const interruption = new AbortController();

/** One process, and its reports. */
class Worker {
  readonly process: ChildProcess;
  readonly #channel: FdChannel<Order | Report>;
  readonly #whenEnded: Promise<unknown[]>;
  readonly #user: number;
  pool: Pool | undefined;
  /** What it had open before it took part in anything. */
  open = new Map<string, string>();

  constructor(place: number) {
    const [ours, theirs] = socketpair();
    const script = fileURLToPath(new URL('worker.js', import.meta.url));
    // The kernel limits what users other than root have in flight, so some workers run as another user.
    this.#user = place % 2 === 0 ? 0 : NOBODY;
    this.process = spawn(process.execPath, [script, `${random.below(2 ** 31)}`, `${FILES}`, `${this.#user}`], {
      stdio: ['ignore', 'inherit', 'inherit', theirs.fd],
    });
    theirs.close();
    this.#whenEnded = once(this.process, 'exit');
    this.#channel = new FdChannel<Order | Report>(ours);
  }

  async start(): Promise<void> {
    const ready = await this.hear();
    if (ready.what === 'ready') this.pool = ready.pool;
    this.open = this.descriptors();
  }

  tell(order: Order, sockets: OwnedFd[] = []): Promise<void> {
    return this.#channel.send(order, sockets);
  }

  async hear(): Promise<Report> {
    return (await this.#channel.receive()).value as Report;
  }

  get numbers(): string[] {
    return readdirSync(`/proc/${this.process.pid}/fd`);
  }

  descriptors(): Map<string, string> {
    const open = new Map<string, string>();
    for (const fd of this.numbers) {
      try {
        open.set(fd, readlinkSync(`/proc/${this.process.pid}/fd/${fd}`));
      } catch {
        // Closed since.
      }
    }
    return open;
  }

  /** How many more are open than before, after pending closes are done. */
  async leaked(): Promise<number> {
    for (let wait = 1; ; wait *= 2) {
      const now = this.descriptors();
      const more = [...now].filter(([fd, name]) => this.open.get(fd) !== name).map(([fd, name]) => `${fd} -> ${name}`);
      if (more.length > 0 && wait < 4000) {
        await sleep(wait);
        continue;
      }
      if (more.length > 0) console.error(`left open: ${more.join(', ')}`);
      this.open = now;
      return more.length;
    }
  }

  async limit(descriptors: number): Promise<void> {
    const as = ROOT ? { uid: this.#user, gid: this.#user } : {};
    const setting = promisify(execFile)('prlimit', [`--pid=${this.process.pid}`, `--nofile=${descriptors}:`], as);
    await setting.catch((error: Error) => {
      if (!interruption.signal.aborted) throw error; // a terminal interrupts it, too
    });
  }

  async retire(): Promise<void> {
    await this.#channel.close();
    const [code, signal] = await this.#whenEnded;
    if (code !== 0) throw new Error(`a worker ended with ${String(code ?? signal)}`);
  }
}

const workers: Worker[] = [];

async function hire(place: number): Promise<void> {
  workers[place] = new Worker(place);
  await workers[place].start();
}

async function introduce(): Promise<void> {
  const pools = workers.map(({ pool }) => pool!);
  await Promise.all(workers.map((worker) => worker.tell({ do: 'know', pools })));
}

/** Gives each place of a lane its sockets; returns the workers that will report. */
async function layOut(lane: Lane): Promise<void> {
  const ends = lane.wires.map(({ type }) => socketpair({ type }));
  for (const [place, worker] of lane.workers.entries()) {
    const sockets = [ends[place - 1]?.[1], ends[place]?.[0]].filter((socket) => socket !== undefined);
    await workers[worker]!.tell({ do: 'take part', lane, place, seed: random.below(2 ** 31) }, sockets);
  }
}

/** Reads a worker's reports until each of its places in the lanes is done. */
async function hearOut(worker: number, lanes: Lane[], sent: Map<number, number>, arrivals: Report[]): Promise<void> {
  for (let left = lanes.filter((lane) => lane.workers.includes(worker)).length; left > 0; left--) {
    const report = await workers[worker]!.hear();
    if (report.what === 'source') sent.set(report.lane, report.sent);
    if (report.what === 'sink') arrivals.push(report);
  }
}

/** Makes one table after the other full for a moment, some with more open than the limit allows. */
async function squeeze(over: AbortSignal): Promise<void> {
  const mine = new Random(random.below(2 ** 31));
  const pause = (most: number): Promise<void> =>
    sleep(1 + mine.below(most), undefined, { signal: over }).catch(() => {});
  while (!over.aborted) {
    const worker = mine.of(workers);
    await worker.limit(worker.numbers.length - 8 + mine.below(64));
    hardships['limits set']++;
    await pause(50);
    await worker.limit(LIMIT);
    await pause(400);
  }
}

async function episode(descriptors: number): Promise<void> {
  const lanes = chooseLanes(random, WORKERS, ROOT ? [0, 2] : [], descriptors);
  const threads = random.of([0, 2, 4]);
  const sent = new Map<number, number>();
  const arrivals: Report[] = [];
  const over = new AbortController();

  for (const worker of workers) await worker.tell({ do: 'race', threads });
  for (const lane of lanes) await layOut(lane);
  const squeezing = random.once(2) ? squeeze(over.signal) : undefined;
  const hanging = setTimeout(() => {
    console.error(`seed ${random.seed}: episode ${hardships.episodes} hangs: ${JSON.stringify({ lanes, arrivals })}`);
    process.exitCode = 1;
    for (const { process } of workers) process.kill('SIGABRT');
  }, HANG);
  await Promise.all(workers.map((_, worker) => hearOut(worker, lanes, sent, arrivals)));
  clearTimeout(hanging);
  over.abort();
  await squeezing;
  for (const arrival of arrivals) if (arrival.what === 'sink') count(lanes[arrival.lane]!, sent, arrival);

  for (const worker of workers) await worker.tell({ do: 'rest' });
  for (const worker of workers) {
    const resting = await worker.hear();
    if (resting.what !== 'resting') throw new Error(`heard ${resting.what} from a worker at rest`);
    hardships.exhausted += resting.exhausted;
    hardships['slots taken'] += resting.taken;
    counts.leaked += await worker.leaked();
  }
  hardships.episodes++;
  hardships.lanes += lanes.length;
}

function count(lane: Lane, allSent: Map<number, number>, { arrival }: Extract<Report, { what: 'sink' }>): void {
  const sent = allSent.get(lane.id)!;
  const { received, upTo, missing, doubled, outOfOrder, foreign } = arrival;
  // A receiver that ends in the middle loses what was on its way to it: what it had must be a prefix.
  const lost = missing + (lane.end === 'receiver' ? 0 : Math.max(0, sent - upTo));
  const surplus = foreign + Math.max(0, upTo - sent);
  if (lost + doubled + surplus + outOfOrder > 0)
    console.error(`seed ${random.seed}, episode ${hardships.episodes}: ${JSON.stringify({ lane, sent, arrival })}`);
  counts.sent += lane.end === 'receiver' ? received : sent;
  counts.received += received;
  counts.lost += lost;
  counts.doubled += doubled + surplus;
  counts['out of order'] += outOfOrder;
}

// ---- the whole

const number = (value: number): string => value.toLocaleString('en');

function told(of: Record<string, number>): string {
  return Object.entries(of)
    .map(([what, many]) => `${what} ${number(many)}`)
    .join(', ');
}

function elapsed(): number {
  return Math.round((performance.now() - began) / 1000);
}

function progress(): void {
  console.log(`${elapsed()} s: ${told(counts)}`);
}

process.on('SIGINT', () => {
  interruption.abort();
  for (const worker of workers) void worker.tell({ do: 'stop' });
});

console.log(`seed ${random.seed}: ${number(wanted)} descriptors in at most ${number(seconds)} s`);
for (let place = 0; place < WORKERS; place++) await hire(place);
await introduce();
const showing = setInterval(progress, 10_000);
const stopping = setTimeout(() => process.emit('SIGINT'), seconds * 1000);
while (counts.sent < wanted && !interruption.signal.aborted) {
  const left = wanted - counts.sent;
  await episode(Math.min(left, random.of([500, 5_000, 50_000, 100_000])));
  if (hardships.episodes % SHIFT === 0) {
    const place = random.below(WORKERS);
    await workers[place]!.retire();
    await hire(place);
    await introduce();
  }
}
clearInterval(showing);
clearTimeout(stopping);
for (const worker of workers) await worker.retire();

console.log(`${elapsed()} s; ${told(hardships)}`);
console.log(told(counts));
const { sent, received, lost, doubled, 'out of order': outOfOrder, leaked } = counts;
if (sent === 0 || sent !== received || lost + doubled + outOfOrder + leaked > 0) process.exitCode = 1;
