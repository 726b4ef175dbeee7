// The poller is the one of the runtime or the setting, with one thread in a process, and a wrong setting is reported.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import { ended, runtime, startChild } from './support.js';

/** The threads of the poller, which only Linux shows by their names. */
const threads = () =>
  readdirSync('/proc/self/task').filter(
    (id) => readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim() === 'fdpasser-poll',
  );

const setting = process.env.FDPASSER_POLLER || undefined;
const poller = setting ?? (runtime === 'node' ? 'uv' : 'thread');
const worker = new Worker(new URL('children/worker.js', import.meta.url), { workerData: { task: 'busy' } });
await once(worker, 'message');
if (process.platform === 'linux') assert.equal(threads().length, poller === 'thread' ? 1 : 0);
await worker.terminate();

for (const wrong of runtime === 'node' ? ['kqueue'] : ['kqueue', 'uv']) {
  const { code, output } = await ended(startChild('import', { env: { FDPASSER_POLLER: wrong } }));
  assert.equal(code, 0);
  assert.match(output, new RegExp(`^ERR_FDPASSER_POLLER .*'${wrong}'`));
}
console.log(poller);
