/** What a supervisor's program may do, and what then does not happen. */
import assert from 'node:assert/strict';
import { ended, startChild } from '../support/child.js';
import { test } from '../support/test.js';

test('what the listener of an event throws is an uncaught exception, and no worker or client is lost', async () => {
  const { stdout, stderr } = await ended(startChild('workers/throwing'));
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), {
    answers: ['200', '', '200', '200'],
    uncaught: ['error: pick', 'exit', 'ready', 'starting'],
  });
});
