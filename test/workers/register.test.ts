import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { supervise } from 'fdpasser/workers';
import { amount } from '../support/amount.js';
import { freePort, reads } from '../support/connection.js';
import { Crowd } from '../support/crowd.js';
import { inFolder, until } from '../support/descriptors.js';
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

/** What came of the servers of one program. */
async function outcome(what: string, ports: number[] = []): Promise<unknown> {
  return inFolder(async (folder) => {
    const file = join(folder, 'result');
    const args = [what, file, ...ports.map(String)];
    const workers = supervise(childFile('workers/two-servers'), { register: true, count: 1, args });
    await until(() => existsSync(file));
    await workers.close();
    return JSON.parse(readFileSync(file, 'utf8'));
  });
}

test('two servers of a program that listen at any free port have two ports', async () => {
  assert.deepEqual(await outcome('any'), ['a', 'b']);
});

test('the second server of a program at one address gets EADDRINUSE, and has it when the first one is closed', async () => {
  assert.deepEqual(await outcome('same', [await freePort()]), ['a', 'b', ['b EADDRINUSE', 'a close']]);
});

test('a server that is closed before it listens does not, and one that listens does not listen twice', async () => {
  const ports = [await freePort(), await freePort(), await freePort(), await freePort()];
  assert.deepEqual(await outcome('ended', ports), [
    'e',
    'ECONNREFUSED',
    'ECONNREFUSED',
    'd',
    'ERR_SERVER_ALREADY_LISTEN',
    ['a close', 'b close', 'c close', 'd listening', 'e listening'],
  ]);
});

test('a server listens with options of other types, as Node has it', async () => {
  const ports = [await freePort(), await freePort(), await freePort(), await freePort()];
  assert.deepEqual(await outcome('loose', ports), ['a', 'b', 'c', 'd']);
});

test('a worker of node:cluster in a program gets an error when it listens', () =>
  inFolder(async (folder) => {
    const file = join(folder, 'result');
    const args = [file, `${await freePort()}`];
    const workers = supervise(childFile('workers/with-cluster'), { register: true, count: 1, args });
    await until(() => existsSync(file));
    await workers.close();
    assert.equal(readFileSync(file, 'utf8'), 'ERR_FDPASSER_CLUSTER');
  }));

test('a program that listens while its worker retires keeps no port from its successor', async () => {
  const where = { port: await freePort(), host: '127.0.0.1' };
  const later = { port: await freePort(), host: '127.0.0.1' };
  const args = [`${where.port}`, `${later.port}`];
  const workers = supervise(childFile('workers/listens-later'), { register: true, count: 1, args });
  await until(() => workers.list[0]!.state === 'ready');
  const old = connect(where);
  await until(() => workers.list[0]!.load === 1);
  await workers.reload();
  const listens = async (client: typeof old): Promise<void> => {
    client.write('go on');
    await reads(client, 'listens');
    client.destroy();
  };
  await listens(old);
  await listens(connect(where));
  const client = connect(later);
  const [pid] = (await once(client.setEncoding('utf8'), 'data')) as [string];
  client.destroy();
  assert.equal(pid, `${workers.list[0]!.pid}`);
  await workers.close();
});
