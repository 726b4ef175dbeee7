/**
 * Workers that use numbers of every origin in every way, and end. Asserts that none is left open, and that no later
 * file with one of these numbers is closed; the guard checks the rest.
 *
 * argv: a fifo; and for workers that are terminated at any moment, a seed and how many.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { anonymousFile, identity, leftOpen, openDescriptors, until } from '../../support/descriptors.js';
import { Random } from '../../support/random.js';
import { open, ORIGINS, USES, type Origin, type Task } from './worker-numbers-user.js';

const LONGEST = 20;
const [fifo, seed, workers] = process.argv.slice(2);
const script = new URL('worker-numbers-user.js', import.meta.url);
process.disconnect();

interface Case {
  what: string;
  origin: Origin;
  /** How often each use has a number of this thread. */
  rounds?: number;
  forEver?: boolean;
  options?: WorkerOptions;
  end: (worker: Worker) => unknown;
}

/** Starts a worker, waits until it reports, ends it, opens files meanwhile, and checks them. */
async function use({ what, origin, rounds = 1, forEver = false, options = {}, end }: Case): Promise<void> {
  const before = openDescriptors();
  const numbers = Array.from({ length: rounds }, () =>
    USES.map((use) => (origin === 'own' ? -1 : open(use, fifo!))),
  ).flat();
  const opened = openDescriptors();
  const task: Task = { origin, fifo: fifo!, numbers };
  if (forEver) task.adopted = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(script, { ...options, workerData: task });
  const state = { over: false };
  worker.once('exit', () => (state.over = true));
  await once(worker, 'message');
  if (origin === 'received') for (const fd of numbers) closeSync(fd);
  const bystanders = Array.from({ length: 40 }, anonymousFile);
  const files = bystanders.map(identity);
  await end(worker);
  while (!state.over) {
    if (bystanders.length < 400) files.push(identity(bystanders[bystanders.push(anonymousFile()) - 1]!));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(bystanders.map(identity), files, what);
  for (const fd of bystanders) closeSync(fd);
  if (task.adopted !== undefined) {
    const now = openDescriptors(); // one may have been adopted but not counted
    for (const fd of numbers.slice(task.adopted[0])) if (now.get(fd) === opened.get(fd)) closeSync(fd);
  }
  await until(() => leftOpen(before).length === 0).catch(() => assert.deepEqual(leftOpen(before), [], what));
}

await import('fdpasser');
if (workers === undefined) {
  for (const origin of ORIGINS)
    for (const trackUnmanagedFds of [true, false])
      for (const how of ['exit', 'terminate'] as const)
        await use({
          what: `${origin}, ${trackUnmanagedFds ? 'tracked' : 'not tracked'}, ${how}`,
          origin,
          options: { trackUnmanagedFds },
          end(worker) {
            if (how === 'exit') worker.postMessage('exit', []);
            else void worker.terminate();
          },
        });
} else {
  const random = new Random(Number(seed));
  for (let i = 0; i < Number(workers); i++)
    await use({
      what: `worker ${i}`,
      origin: 'main',
      rounds: 8,
      forEver: true,
      async end(worker) {
        await sleep(random.below(LONGEST));
        void worker.terminate();
      },
    });
}
