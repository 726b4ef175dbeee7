import assert from 'node:assert/strict';
import { supervise } from 'fdpasser/workers';
import { amount } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { Crowd } from '../support/crowd.js';
import { until } from '../support/descriptors.js';
import { ask } from '../support/takeover.js';
import { checkMoved, childFile, SupervisorProcess, unmodified } from '../support/supervising.js';
import { test, testInFull } from '../support/test.js';

const RELOADS = amount(5, 2);
const KEEP_ALIVE = amount(16, 4);
const WEB_SOCKETS = amount(10, 3);

testInFull(
  'clients of an unmodified program of express and ws notice no reload of the workers that run it',
  async () => {
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
  },
);

test('a program in a worker that closes its server and listens again at once goes on', async () => {
  const port = await freePort();
  const workers = supervise(childFile('workers/again'), { register: true, count: 1, args: [`${port}`] });
  const exits: unknown[] = [];
  workers.on('exit', (...exit) => void exits.push(exit));
  await until(() => workers.list.every(({ state }) => state === 'ready'));
  const pid = `${workers.list[0]!.pid}`;
  for (const path of ['/', '/again', '/', '/again', '/']) assert.equal(await ask({ port }, path), pid);
  assert.deepEqual(exits, []);
  await workers.close();
});
