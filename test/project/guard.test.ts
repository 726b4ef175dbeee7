import assert from 'node:assert/strict';
import { ended, startChild } from '../support/child.js';
import { test } from '../support/test.js';

test('the guard ends a process that closes a number twice', async () => {
  const { signal, stderr } = await ended(startChild('project/double-close'));
  assert.equal(signal, 'SIGABRT');
  assert.match(stderr, /close guard: descriptor \d+ was not open/);
});
