// Workers pass among themselves and with the main thread; terminated ones leave nothing open.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { FdPasser, socketpair } from 'fdpasser';
import { openDescriptors, receiveFiles, sendNew, statOf } from './support.js';

const sockets = () =>
  openDescriptors().filter((fd) => {
    try {
      return statOf(fd).isSocket();
    } catch {
      return false;
    }
  }).length;

const start = (task, fd) => new Worker(new URL('children/worker.js', import.meta.url), { workerData: { task, fd } });

const [ours, theirs] = socketpair();
const passer = new FdPasser({ fh: ours });
const echo = start('echo', theirs.take());
const gone = once(echo, 'exit');
const sent = sendNew(passer, 100);
assert.deepEqual(await receiveFiles(passer, 100), sent);
await passer.close();
await gone;

// A runtime keeps sockets of its own from its first workers on.
for (let i = 0; i < 10; i++) await terminateOne(i * 3);
const before = sockets();
for (let i = 0; i < 10; i++) await terminateOne(i * 3);
for (let tries = 0; sockets() > before && tries < 500; tries++) await sleep(10);
assert.ok(sockets() <= before, 'sockets that terminated workers left open');
console.log('100 to a worker and back; 20 terminated');

async function terminateOne(patience) {
  const worker = start('busy');
  await once(worker, 'message');
  await sleep(patience);
  await worker.terminate();
}
