import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { connected, pushFiles, receiveFiles } from '../support/passing.js';
import { test } from '../support/test.js';

const MANY = 30;

test('one signal aborts many calls without a warning, and leaves ended calls alone', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on('warning', note);
  const [from, to] = connected();
  const controller = new AbortController();
  const receiving = Array.from({ length: MANY }, () => to.receive({ signal: controller.signal }));
  const files = pushFiles(from, 2);
  for (const fd of await Promise.all(receiving.slice(0, 2))) fd.close();
  const refused = receiving.slice(2).map((call) => assert.rejects(call, { name: 'AbortError' }));
  controller.abort();
  await Promise.all(refused);
  await turn();
  assert.deepEqual(warnings, []);
  process.off('warning', note);

  assert.equal(files.length, 2);
  const more = pushFiles(from, 1);
  assert.deepEqual(await receiveFiles(to, 1), more);
  await from.close();
  await to.close();
});
