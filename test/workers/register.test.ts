import assert from 'node:assert/strict';
import { amount } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { Crowd } from '../support/crowd.js';
import { until } from '../support/descriptors.js';
import { checkMoved, SupervisorProcess, unmodified } from '../support/supervising.js';
import { test } from '../support/test.js';

const RELOADS = amount(5, 2);
const KEEP_ALIVE = amount(16, 4);
const WEB_SOCKETS = amount(10, 3);

test('clients of an unmodified program of express and ws notice no reload of the workers that run it', async () => {
  const where = { host: '127.0.0.1', port: await freePort() };
  await using supervisor = new SupervisorProcess(unmodified('express.mjs', where));
  await supervisor.ready(2);
  const crowd = new Crowd({ where, keepAlive: KEEP_ALIVE, webSockets: WEB_SOCKETS, bodies: true });
  try {
    await crowd.begins();
    for (let i = 0; i < RELOADS; i++) await supervisor.command('reload');
    await until(() => supervisor.events('exit').length === 2 * RELOADS); // what they had written has moved, too
    await crowd.goesOn();
  } finally {
    await crowd.stop();
  }
  const { stdout, stderr, code } = await supervisor.close();
  assert.deepEqual({ stderr, code }, { stderr: '', code: 0 });
  const { errors, asked, connections } = crowd;
  assert.deepEqual({ errors, asked, connections }, { errors: [], asked: 0, connections: KEEP_ALIVE + WEB_SOCKETS });
  checkMoved(stdout, WEB_SOCKETS * RELOADS, crowd);
});
