/** A worker that uses numbers in every way, and goes on holding some. */
import { once } from 'node:events';
import { constants, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { parentPort, workerData } from 'node:worker_threads';
import { FdPasser, OwnedFd, socketpair } from 'fdpasser';
import { anonymousFile } from '../../support/descriptors.js';

/**
 * Where a number comes from. `'own'`: this worker's `fs`. `'main'`: the `fs` of another thread. `'received'`: the
 * kernel.
 */
export const ORIGINS = ['own', 'main', 'received'] as const;
export type Origin = (typeof ORIGINS)[number];

export interface Task {
  origin: Origin;
  fifo: string;
  /** For each use, unless it opens them itself. */
  numbers: number[];
  /** Whether it goes on until it is terminated, and how many of `numbers` were adopted. */
  adopted?: Int32Array;
}

const kept: unknown[] = [];

/** By what each is: whether it is for a fifo, and what is done. */
const uses = {
  close: [false, (owned: OwnedFd) => owned.close()],
  closeAll: [false, (owned: OwnedFd) => OwnedFd.closeAll([owned])],
  keep: [false, (owned: OwnedFd) => kept.push(owned)],
  duplicate: [false, (owned: OwnedFd) => (kept.push(owned.dup()), owned.close())],
  send: [false, (owned: OwnedFd) => pass(owned)],
  lend: [false, async (owned: OwnedFd) => ((await lend(owned)).close(), owned.close())],
  read: [false, (owned: OwnedFd) => owned.createReadStream().toArray()],
  write: [false, (owned: OwnedFd) => once(owned.createWriteStream().end('bytes'), 'close')],
  readLater: [false, (owned: OwnedFd) => kept.push(owned.createReadStream())],
  writeLater: [false, (owned: OwnedFd) => kept.push(owned.createWriteStream())],
  socket: [true, (owned: OwnedFd) => once(owned.toSocket().destroy(), 'close')],
  socketLater: [true, (owned: OwnedFd) => kept.push(owned.toSocket())],
  keepFifo: [true, (owned: OwnedFd) => kept.push(owned)],
} as const;
export const USES = Object.keys(uses) as (keyof typeof uses)[];

let one: FdPasser;
let other: FdPasser;

async function pass(fh: OwnedFd | number): Promise<void> {
  await one.send(fh);
  (await other.receive()).close();
}

async function lend(fh: OwnedFd | number): Promise<OwnedFd> {
  await one.send(fh, { keepOpen: true });
  return other.receive();
}

/** A file, or the fifo, for a use. */
export function open(use: keyof typeof uses, fifo: string): number {
  return uses[use][0] ? openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK) : anonymousFile();
}

async function useEach({ origin, fifo, numbers }: Task): Promise<void> {
  for (const [i, name] of USES.entries()) {
    const number = origin === 'own' ? open(name, fifo) : numbers[i]!;
    await uses[name][1](origin === 'received' ? await lend(number) : new OwnedFd(number));
  }
}

async function useForEver({ fifo, numbers }: Task, adopted: Int32Array): Promise<void> {
  for (let i = 0; ;) {
    for (const name of USES) {
      await uses[name][1](new OwnedFd(open(name, fifo)));
      await one.send(open(name, fifo));
      await uses[name][1](await other.receive());
      if (i === numbers.length) continue;
      const foreign = new OwnedFd(numbers[i]!);
      adopted[0] = ++i;
      await uses[name][1](foreign);
    }
    for (const thing of kept.splice(0))
      if (thing instanceof OwnedFd) thing.close();
      else (thing as Readable).destroy();
  }
}

async function run(task: Task): Promise<void> {
  [one, other] = socketpair().map((fh) => new FdPasser({ fh })) as [FdPasser, FdPasser];
  parentPort!.once('message', () => process.exit());
  if (task.adopted === undefined) await useEach(task);
  parentPort!.postMessage('used', []);
  if (task.adopted !== undefined) await useForEver(task, task.adopted);
}

if (parentPort !== null) await run(workerData as Task);
