import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { listen } from 'fdpasser';
import { supervise, type Supervisor } from 'fdpasser/workers';
import { PATIENCE } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { inFolder, until } from '../support/descriptors.js';
import { childFile } from '../support/supervising.js';
import { ask, askAsNobody, cannotBeNobody } from '../support/takeover.js';
import { test } from '../support/test.js';

const host = '127.0.0.1';
/** More than two workers have in hand. */
const MANY = 200;

async function allReady(workers: Supervisor): Promise<void> {
  await until(() => workers.list.every(({ state }) => state === 'ready'));
}

test('a connection of a listener that no worker serves waits in the backlog, and this is reported once', async () => {
  const served = { host, port: await freePort() };
  const workers = supervise(childFile('workers/serve-one'), { count: 2, args: [`${host}:${served.port}`] });
  const errors: NodeJS.ErrnoException[] = [];
  workers.on('error', (error) => errors.push(error));
  await workers.listen(served);
  const other = await workers.listen({ host, port: 0 });
  await allReady(workers);
  const answer = ask({ port: other.port });
  await until(() => errors.length > 0);
  for (let i = 0; i < 10; i++) await ask(served);
  assert.deepEqual(
    errors.map(({ code, message }) => [code, message.includes(`${host}:${other.port}`)]),
    [['ERR_FDPASSER_WORKER', true]],
  );
  await until(() => workers.list.every(({ load }) => load === 0));

  process.kill(workers.list[1]!.pid!, 'SIGUSR2');
  assert.equal(await answer, `${workers.list[1]!.pid}`);
  await workers.close();
});

for (const listens of [true, false])
  test(`a server that ${listens ? 'listens itself' : 'does not listen'} gets no connection of a worker once it is closed, and none is lost`, async () => {
    const workers = supervise(childFile('workers/closing'), { count: 2, args: listens ? ['listens'] : [] });
    const { port } = await workers.listen({ host, port: 0 });
    await allReady(workers);
    const [first, second] = workers.list.map(({ pid }) => `${pid}`);
    const request = get({ host, port, path: '/close' });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const closed = String((await once(response, 'data'))[0]);
    const left = closed === first ? second : first;
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask({ port })));
    assert.deepEqual(new Set(answers), new Set([left]));
    request.on('error', () => {}).destroy();
    await until(() => workers.list.every(({ pid, state }) => state === 'ready' && `${pid}` !== closed)); // it has ended
    await workers.close();
  });

test('connections of a listener whose server is closed go to no other server of the worker', async () => {
  const other = { host, port: await freePort() };
  const workers = supervise(childFile('workers/serve-two'), { count: 1, args: [`${host}:${other.port}`] });
  const errors: NodeJS.ErrnoException[] = [];
  workers.on('error', (error) => errors.push(error));
  const { port } = await workers.listen({ host, port: 0 });
  await workers.listen(other);
  await allReady(workers);
  assert.equal(await ask(other, '/close'), 'own');
  const answer = ask(other);
  assert.equal(await ask({ port }), 'rest');
  await until(() => errors.length > 0);
  process.kill(workers.list[0]!.pid!, 'SIGUSR2');
  assert.equal(await answer, 'another');
  assert.deepEqual(
    errors.map(({ code }) => code),
    ['ERR_FDPASSER_WORKER'],
  );
  await workers.close();
});

test('a listener that only a worker too many served is reported', async () => {
  const ports = [await freePort(), await freePort()];
  const args = ports.map((port) => `${host}:${port}`);
  const workers = supervise(childFile('workers/serve-slot'), { count: 2, args });
  const errors: string[] = [];
  workers.on('error', ({ message }) => errors.push(message));
  for (const port of ports) await workers.listen({ host, port });
  await allReady(workers);
  assert.equal(await ask({ port: ports[1]! }), '1');
  assert.deepEqual(errors, []);
  workers.scale(1);
  await until(() => errors.length > 0);
  assert.match(errors[0]!, new RegExp(`:${ports[1]}`));
  assert.equal(await ask({ port: ports[0]! }), '0');
  await workers.close();
});

test('clients of a listener do not wait for the stopped worker that serves another one', async () => {
  const [stuck, served] = [
    { host, port: await freePort() },
    { host, port: await freePort() },
  ];
  let looked = 0;
  const workers = supervise(childFile('workers/serve-slot'), {
    count: 2,
    args: [stuck, served].map(({ port }) => `${host}:${port}`),
    patience: PATIENCE,
    peek: { until: () => ++looked > 0 },
  });
  const exits: unknown[] = [];
  workers.on('exit', (...exit) => exits.push(exit));
  for (const each of [stuck, served]) await workers.listen(each);
  await allReady(workers);
  const { pid } = workers.list[0]!;
  process.kill(pid!, 'SIGSTOP');
  const late = Array.from({ length: MANY }, () => ask(stuck));
  await until(() => looked === MANY);
  assert.equal(await ask(served), '1');
  assert.deepEqual(exits, []);
  process.kill(pid!, 'SIGCONT');
  assert.deepEqual(new Set(await Promise.all(late)), new Set(['0']));
  await workers.close();
});

test('an allow that throws is reported and refuses one client, and others are served', () =>
  inFolder(async (folder) => {
    const socketPath = join(folder, 'socket');
    const workers = supervise(childFile('workers/serve'), { count: 1 });
    const errors: Error[] = [];
    workers.on('error', (error) => errors.push(error));
    const fault = new Error('nobody knows');
    let asked = 0;
    await workers.listen(socketPath, {
      allow: () => {
        if (++asked === 1) throw fault;
        return true;
      },
    });
    await allReady(workers);
    await assert.rejects(ask({ socketPath }));
    assert.match(await ask({ socketPath }), /"slot":0/);
    assert.deepEqual(errors, [fault]);
    await workers.close();
  }));

for (const takeover of [true, false])
  test(`a listen() that is under way when ${takeover ? 'a supervisor with takeover' : 'the supervisor'} closes rejects, and listens no more`, () =>
    inFolder(async (folder) => {
      const options = takeover ? { takeover: join(folder, 'control') } : {};
      const workers = supervise(childFile('workers/serve'), { count: 1, ...options });
      const where = [
        { host, port: await freePort() },
        { host, port: await freePort() },
      ] as const;
      await workers.listen(where[0]);
      await allReady(workers);
      const late = assert.rejects(workers.listen(where[1]), { code: 'ERR_FDPASSER_CLOSED' });
      await workers.close();
      await late;
      for (const each of where) await assert.rejects(ask(each), { code: 'ECONNREFUSED' });
    }));

for (const register of [true, false])
  test(`a connection in hand of a listener that no ${register ? 'program' : 'worker'} serves any more keeps nobody waiting`, () =>
    inFolder(async (folder) => {
      const file = join(folder, 'file');
      const where = { host, port: await freePort() };
      const args = register ? [file, `${where.port}`] : [file];
      const options = { register, count: 1, args, patience: 60_000, retire: 500 };
      const workers = supervise(childFile('workers/closing-late'), options);
      if (!register) await workers.listen(where);
      await allReady(workers);
      const blocks = once(process, 'SIGUSR2');
      const first = ask(where, '/close').catch(() => {}); // the last connection of its server may be cut
      await blocks;
      const second = assert.rejects(ask(where));
      await until(() => workers.list[0]!.load === 2);
      writeFileSync(file, '');
      await first;
      if (register) await second;
      await workers.close();
      await second;
    }));

test('a listener that the program does not ask for any more is closed after the reload', async () => {
  await inFolder(async (folder) => {
    const [before, after] = [
      { host, port: await freePort() },
      { host, port: await freePort() },
    ];
    const file = join(folder, 'port');
    writeFileSync(file, `${before.port}`);
    const workers = supervise(childFile('workers/port-of-file'), { register: true, count: 2, args: [file] });
    await allReady(workers);
    assert.match(await ask(before), /^\d+$/);
    writeFileSync(file, `${after.port}`);
    await workers.reload();
    assert.match(await ask(after), /^\d+$/);
    await assert.rejects(ask(before), { code: 'ECONNREFUSED' });
    await workers.close();
  });
});

test(
  'whoever may connect to a socket that was given is served',
  () =>
    inFolder(async (folder) => {
      chmodSync(folder, 0o755);
      const path = join(folder, 'socket');
      const workers = supervise(childFile('workers/serve'), { count: 1 });
      await workers.listen({ fd: listen(path, { mode: 0o666 }).detach() });
      await allReady(workers);
      assert.match(await askAsNobody(path), new RegExp(`"pid":${workers.list[0]!.pid}`));
      await workers.close();
    }),
  cannotBeNobody,
);
