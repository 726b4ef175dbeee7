/** Each wire, each way to hand a descriptor over, whatever it waits for, each end. */
import assert from 'node:assert/strict';
import { ended, startChild } from '../support/child.js';
import { ENDS, KINDS, endAs, rows } from '../support/endings.js';
import { test } from '../support/test.js';

for (const wire of Object.keys(KINDS))
  test(`everything settles and has one owner, however a ${wire} ends`, async () => {
    for (const row of rows(ENDS).filter((row) => row.wire === wire))
      await endAs(row).catch((error: Error) => {
        throw new Error(JSON.stringify(row), { cause: error });
      });
  });

test('everything settles and has one owner when somebody else has closed the socket of a wire', async () => {
  const child = startChild('wire/ending-rows', {
    execArgv: ['--no-warnings'],
    env: { LD_PRELOAD: process.env['PRELOAD'] ?? '' },
  });
  assert.deepEqual(await ended(child), { code: 0, signal: null, stdout: '', stderr: '' });
});
