/** A worker that uses a number of another thread as it is told, and reports when that is done. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { FdPasser, socketpair } from 'fdpasser';

const fd = workerData as number;
const [one, other] = socketpair().map((fh) => new FdPasser({ fh })) as [FdPasser, FdPasser];
const waiting = new FdPasser();

const tasks = {
  async 'hand over'() {
    await one.send(fd);
    (await other.receive()).close();
    // Another thread still borrows it, and nobody owns it.
    assert.throws(() => one.pushSendFh(fd, { keepOpen: true }), { code: 'ERR_FDPASSER_OWNED' });
  },
  lend() {
    waiting.send(fd, { keepOpen: true }).catch(() => {});
  },
  'let the loan go'() {
    waiting.destroy();
  },
} as const;
export type Task = keyof typeof tasks;

parentPort!.on('message', (task: Task) => {
  void Promise.resolve(tasks[task]()).then(() => parentPort!.postMessage('done', []));
});
parentPort!.postMessage('ready', []);
