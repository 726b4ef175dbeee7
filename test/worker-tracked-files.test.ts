import assert from 'node:assert/strict';
import { ended, startChild } from './support/child.js';
import { test } from './support/test.js';

test('a file that a worker opened and sent is closed once, also when the worker ends', async () => {
  const { code, signal, stderr } = await ended(startChild('worker-tracked-files'));
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
});
