/**
 * Terminates workers at random moments, and checks what they left open. argv: the seed, the number of workers, and
 * "main" to load the library in this thread too.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { leftOpen, openDescriptors, until } from '../../support/descriptors.js';
import type { Task } from './worker-victim.js';

const LONGEST = 40;
const script = new URL('worker-victim.js', import.meta.url);

const workers = Number(process.argv[3]);
let seed = Number(process.argv[2]);
/** Mulberry32: 0 to 1. */
function random(): number {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

async function terminateOne(task: Task, patience: number): Promise<void> {
  const worker = new Worker(script, { workerData: task });
  worker.on('error', (error) => {
    throw error;
  });
  // Node leaves the module open that a worker was loading when it was terminated.
  await once(worker, 'message');
  await sleep(patience);
  await worker.terminate();
}

if (process.argv[4] === 'main') await import('fdpasser');
await terminateOne('exchange', LONGEST);
const before = openDescriptors();
const others: Task[] = ['exchange', 'send', 'receive', 'accept'];
for (let done = 0; done < workers;) {
  // A worker that fills the process's table leaves no room to start a second one.
  const tasks: Task[] = random() < 0.25 ? ['exhaust'] : others;
  await Promise.all(tasks.map((task) => terminateOne(task, random() * LONGEST)));
  done += tasks.length;
  await until(() => leftOpen(before).length === 0).catch(() => assert.deepEqual(leftOpen(before), [], tasks.join()));
}
process.send!('done', () => process.disconnect());
