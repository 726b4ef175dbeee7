/** What scripts/test-workers-tsan.js runs: worker threads that pass descriptors, and are terminated meanwhile. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { FdPasser, socketpair } from 'fdpasser';
import { receiveAll, sendNew } from '../support/exchange.js';
import type { Task } from '../descriptor/children/worker-victim.js';

const child = (name: string): URL => new URL(`../descriptor/children/${name}.js`, import.meta.url);

async function toTheEnd(task: string): Promise<void> {
  const worker = new Worker(child('worker-tasks'), { workerData: { task } });
  assert.deepEqual(await once(worker, 'exit'), [0]);
}

async function withTheMainThread(): Promise<void> {
  const [a, b] = socketpair();
  await using passer = new FdPasser({ fh: a });
  const worker = new Worker(child('worker-tasks'), { workerData: { task: 'main', fd: b.take() } });
  const report = once(worker, 'message') as Promise<[{ sent: string[]; received: string[] }]>;
  const sent = sendNew(passer, 100);
  const received = await receiveAll(passer, 100);
  assert.deepEqual((await report)[0], { sent: received, received: sent });
  worker.postMessage('done', []);
  assert.deepEqual(await once(worker, 'exit'), [0]);
}

async function terminated(task: Task, patience: number): Promise<void> {
  const worker = new Worker(child('worker-victim'), { workerData: task });
  await once(worker, 'message');
  await sleep(patience);
  await worker.terminate();
}

await Promise.all([...['pair', 'path', 'pending', 'pair'].map(toTheEnd), withTheMainThread()]);
for (let i = 0; i < 5; i++)
  await Promise.all((['exchange', 'send', 'receive', 'accept'] as const).map((task, k) => terminated(task, i * k * 3)));
