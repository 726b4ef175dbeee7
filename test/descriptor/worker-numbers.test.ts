import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { amount } from '../support/amount.js';
import { ended, startChild } from '../support/child.js';
import { inFolder } from '../support/descriptors.js';
import { test, testInFull } from '../support/test.js';

async function useNumbers(...args: string[]): Promise<void> {
  await inFolder(async (folder) => {
    const fifo = `${folder}/fifo`;
    execFileSync('mkfifo', [fifo]);
    const { code, signal, stderr } = await ended(startChild('descriptor/worker-numbers', { args: [fifo, ...args] }));
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' }, args.join());
  });
}

test('numbers of every origin, used in every way in a worker, are closed once, without a warning, when it ends', () =>
  useNumbers());

testInFull(
  'numbers of every origin, used in every way, are closed once in workers that are terminated at any moment',
  () => useNumbers(`${randomInt(2 ** 31)}`, `${amount(12, 5)}`),
);
