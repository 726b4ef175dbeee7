import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { FdPasser, socketpair } from 'fdpasser';
import { amount } from '../support/amount.js';
import { ended, startChild } from '../support/child.js';
import { receiveAll, sendNew } from '../support/exchange.js';
import { test } from '../support/test.js';

function startWorker(task: string, fd?: number): Worker {
  return new Worker(new URL('children/worker-tasks.js', import.meta.url), { workerData: { task, fd } });
}

/** Waits for a worker's orderly end; its error is thrown. */
async function orderlyEnd(worker: Worker): Promise<void> {
  const [code] = (await once(worker, 'exit')) as [number];
  assert.equal(code, 0);
}

test('a worker passes both ways over a pair', () => orderlyEnd(startWorker('pair')));

test('a worker listens, connects, and passes both ways over a path', () => orderlyEnd(startWorker('path')));

test('a worker and the main thread pass both ways over a pair handed over by number', async () => {
  const [a, b] = socketpair();
  await using passer = new FdPasser({ fh: a });
  const worker = startWorker('main', b.take());
  const end = orderlyEnd(worker);
  const report = once(worker, 'message') as Promise<[{ sent: string[]; received: string[] }]>;
  const sent = sendNew(passer, 100);
  const received = await receiveAll(passer, 100);
  assert.deepEqual((await report)[0], { sent: received, received: sent });
  worker.postMessage('done', []);
  await end;
});

test('an OwnedFd that a worker forgets is closed there, with a warning', () => orderlyEnd(startWorker('garbage')));

test('a worker with receives pending ends by itself once it closes its passers', () =>
  orderlyEnd(startWorker('pending')));

for (const [where, count, title] of [
  ['main', amount(200, 6), 'in the main thread too'],
  ['workers', amount(60, 3), 'in the workers alone'],
] as const)
  test(`${count} workers terminated at any moment neither crash nor leak, with the addon loaded ${title}`, async () => {
    const seed = randomInt(2 ** 31);
    const child = startChild('descriptor/worker-terminate', { descriptors: 400, args: [`${seed}`, `${count}`, where] });
    const end = await ended(child);
    assert.deepEqual(end, { code: 0, signal: null, stdout: '', stderr: '' }, `seed ${seed}`);
  });

for (const where of ['main', 'worker'])
  test(`process.exit() during transfers ends the process as asked, when a ${where} thread calls it`, async () => {
    const end = await ended(startChild('descriptor/worker-exit', { args: [where] }));
    assert.deepEqual(end, { code: 7, signal: null, stdout: '', stderr: '' });
  });
