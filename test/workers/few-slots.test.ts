import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { freePort } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { childFile, SupervisorProcess } from '../support/supervising.js';
import { test } from '../support/test.js';

const host = '127.0.0.1';
/** After so many moves a worker sends more at a time than the supervisor has slots for. */
const CLIENTS = 150;
/** Two are for the channels of a new worker. */
const FREE = 8;

/** The pid of the worker that answers. */
async function asks(client: Socket): Promise<number> {
  client.write('GET / HTTP/1.1\r\nHost: here\r\n\r\n');
  const [answer] = (await once(client, 'data')) as [string];
  return Number(/"pid":(\d+)/.exec(answer)![1]);
}

test('live connections move a few at a time through a supervisor that has few free slots', async () => {
  const listen = { host, port: await freePort() };
  const plan = { file: childFile('workers/serve'), options: { count: 1, retire: 20_000 }, listen };
  await using supervisor = new SupervisorProcess(plan, { descriptors: 400 });
  await supervisor.ready(1);
  const clients = Array.from({ length: CLIENTS }, () => {
    const client = connect(listen.port, host).setEncoding('utf8');
    return client.on('end', () => client.destroy(new Error('the server has closed it')));
  });
  const [old] = await Promise.all(clients.map(asks));
  await supervisor.command({ free: FREE });
  await supervisor.command('reload');
  await until(() => supervisor.events('exit').length > 0);
  assert.deepEqual(supervisor.events('exit')[0]!.exit, { code: 0, signal: null });
  const now = new Set(await Promise.all(clients.map(asks)));
  assert.equal(now.size, 1);
  assert.ok(!now.has(old!));
  for (const client of clients) client.destroy();
  assert.equal((await supervisor.close()).code, 0);
});
