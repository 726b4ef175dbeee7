import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { amount } from '../support/amount.js';
import { ended } from '../support/child.js';
import { Folder } from '../support/command.js';
import { childrenOf } from '../support/descendants.js';
import { until } from '../support/descriptors.js';
import { Service } from '../support/service.js';
import { app, STARTS, Unmodified, type Start } from '../support/unmodified.js';
import { freePort } from '../support/connection.js';
import { ask, Load } from '../support/takeover.js';
import { partly, test, testInFull } from '../support/test.js';

const drops = fileURLToPath(new URL('children/drops.js', import.meta.url));

for (const start of Object.keys(STARTS) as Start[])
  partly(start === 'node')(
    `replacements under load of an unmodified program, started by ${start}, fail no request`,
    async () => {
      await using service = await Unmodified.start('version 1', start);
      const { pid } = service.child;
      const last = 1 + amount(5, start === 'node' ? 2 : 1);
      const load = new Load({ port: service.port });
      try {
        await load.answers(5);
        for (let version = 2; version <= last; version++) {
          const before = service.pid;
          service.behave(`version ${version}`);
          const { code, stdout, stderr } = await service.reload();
          assert.deepEqual({ code, stderr }, { code: 0, stderr: '' }, `${stdout}${service.stderr}`);
          assert.equal(stdout.split('\n')[0], `${service.pid} serves, and ${before} drains.`);
          assert.equal(await service.ask(), `version ${version} ${service.pid}`);
          await load.answers(5);
          assert.ok(!isRunning(before), 'the old one has ended');
        }
      } finally {
        await load.stop();
      }
      assert.deepEqual(load.errors, []);
      assert.equal(load.pids.size, last);
      assert.equal(service.child.pid, pid);
      assert.equal(service.child.exitCode, null);
    },
  );

test('a plain restart of the same program fails some of them', async () => {
  using folder = new Folder();
  writeFileSync(folder.at('behaviour'), 'plain');
  const port = await freePort();
  const start = () =>
    spawn(process.execPath, [app], { cwd: folder.path, env: { ...process.env, PORT: `${port}` }, stdio: 'ignore' });
  let child = start();
  const load = new Load({ port });
  try {
    await load.answers(5);
    const before = load.errors.length; // when it had not begun to listen
    child.kill('SIGTERM');
    await once(child, 'exit');
    child = start();
    await load.answers(5);
    assert.ok(load.errors.slice(before).some(({ code }) => code === 'ECONNREFUSED'));
  } finally {
    await load.stop();
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('SIGHUP replaces the program', async () => {
  await using service = await Unmodified.start('one');
  service.behave('two');
  service.child.kill('SIGHUP');
  await service.says(/\d+ has ended/);
  await service.up(2);
  assert.match(await service.ask(), /^two /);
});

const MUTE = 'no Node process of it listened, and a program in another language needs --listen';

for (const [behaviour, start, why] of [
  ['broken', 'node', 'it ended with 9 before it was up'],
  ['broken', 'npm start', 'it ended with 9 before it was up'],
  ['short-lived', 'node', 'it ended with 8 before it was up'],
  ['leaving', 'node', 'it ended with 0 before it was up'],
  ['mute', 'node', `it was not up within 8 s: ${MUTE}`],
  ['mute', 'sh -c', `it was not up within 8 s: ${MUTE}`],
] as const)
  partly(start === 'node' && behaviour !== 'short-lived' && behaviour !== 'mute')(
    `a new version, started by ${start}, that is ${behaviour} is rolled back, and reload reports it`,
    async () => {
      await using service = await Unmodified.start('good', start, [
        '--start-timeout',
        behaviour === 'mute' ? '8' : '60',
      ]);
      const { pid } = service;
      service.behave(behaviour);
      const { code, stderr } = await service.reload();
      assert.deepEqual(
        { code, stderr },
        { code: 1, stderr: `fdpasser: Rolled back: ${why}. ${pid} goes on serving.\n` },
      );
      assert.match(service.stderr, new RegExp(`^fdpasser: Rolled back: ${why}\\. ${pid} goes on serving\\.$`, 'm'));
      assert.equal(await service.ask(), `good ${pid}`);
      assert.equal(service.pid, pid);
      service.behave('better');
      assert.equal((await service.reload()).code, 0);
      assert.match(await service.ask(), /^better /);
    },
  );

/** A new version that behaves so is rolled back after the `--start-timeout` of 6 s, and has ended. */
async function isNotUpInTime(service: Unmodified, behaviour: string): Promise<void> {
  const { pid } = service;
  service.behave(behaviour);
  const { code, stderr } = await service.reload();
  const why = 'Rolled back: it was not up within 6 s';
  assert.deepEqual({ code, stderr }, { code: 1, stderr: `fdpasser: ${why}. ${pid} goes on serving.\n` });
  assert.deepEqual(service.status, [`1:${pid}`]);
  assert.deepEqual(childrenOf(service.child.pid!), [pid]);
  assert.equal(await service.ask(), `good ${pid}`);
}

test('a new version that closes its servers in the probation, and stays, is told to end and rolled back', async () => {
  await using service = await Unmodified.start('good', 'node', ['--start-timeout', '6']);
  await isNotUpInTime(service, 'idle');
});

test(
  'a program that gives up its privileges when it listens is up when it serves, and is replaced',
  async () => {
    const port = await freePort();
    const program = [process.execPath, drops, `${port}`];
    await using service = new Service('', ['--start-timeout', '600'], program);
    const load = new Load({ port });
    try {
      for (let generation = 1; generation <= 3; generation++) {
        await service.up(generation);
        await load.answers(5);
        assert.equal(service.status[0]!.replace(`${generation}:`, ''), (await ask({ port })).replace(' of 65534', ''));
        const { code, stderr } = await service.reload();
        assert.deepEqual({ code, stderr }, { code: 0, stderr: '' }, service.stderr);
      }
    } finally {
      await load.stop();
    }
    assert.doesNotMatch(service.stderr, /Warning|EACCES/);
  },
  process.getuid?.() === 0 ? false : 'only root has privileges to give up',
);

test(
  'a program that gives up its privileges before it listens is told why it cannot take part',
  async () => {
    const text = `process.setuid(65534); require('http').createServer().listen(${await freePort()}, '127.0.0.1')`;
    await using service = new Service('', ['--start-timeout', '60'], [process.execPath, '-e', text]);
    await service.says(/will not be handed over: \S+\.claim cannot be reached: exec is of another user/);
  },
  process.getuid?.() === 0 ? false : 'only root has privileges to give up',
);

test('a new version that is stopped in the probation is ended and rolled back', async () => {
  await using service = await Unmodified.start('good', 'node', ['--interval', '1', '--start-timeout', '6']);
  await isNotUpInTime(service, 'stopped');
});

testInFull('a program that crashes is started again', async () => {
  await using service = await Unmodified.start('good');
  const crash = async (): Promise<number> => {
    const { pid } = service;
    await assert.rejects(service.ask('/crash'));
    return pid;
  };
  const first = await crash();
  await until(() => service.pids.length === 1 && service.pid !== first);
  assert.match(await service.ask(), /^good \d+$/);
  service.behave('broken');
  const second = await crash();
  await service.says(/started again in 0\.8 s/);
  const pauses = [...service.stderr.matchAll(/started again in ([\d.]+) s/g)].map(([, seconds]) => seconds);
  // Twice 0.1 if it had served for that long between.
  assert.deepEqual(pauses.slice(-4), ['0.1', '0.2', '0.4', '0.8']);
  service.behave('mended');
  await until(() => service.pids.length === 1 && service.pid !== second);
  assert.match(await service.ask(), /^mended /);
});

test('clients wait while a crashed program is started again, and are not refused', async () => {
  await using service = await Unmodified.start('good', 'node', ['--interval', '1']);
  const { pid } = service;
  await assert.rejects(service.ask('/crash'));
  const answer = await service.ask();
  assert.match(answer, /^good \d+$/);
  assert.notEqual(answer, `good ${pid}`);
});

test('a replacement does not wait for a program that is being started again after a crash', async () => {
  await using service = await Unmodified.start('good');
  service.behave('mute');
  await assert.rejects(service.ask('/crash'));
  await service.says(/started again in 0\.1 s/);
  service.behave('better');
  assert.equal((await service.reload()).code, 0);
  assert.match(await service.ask(), /^better /);
});

for (const start of Object.keys(STARTS) as Start[])
  partly(start === 'sh -c')(
    `exec ends as its program ends, which is started by ${start}, gets the signals and leaves nothing behind`,
    async () => {
      const ends = [
        ['one', '/leave', undefined, 0],
        ['code', undefined, 'SIGTERM', 7],
        ['one', undefined, 'SIGTERM', 143],
        ['one', undefined, 'SIGINT', 130],
      ] as const;
      for (const [behaviour, path, signal, code] of ends.slice(0, amount(ends.length, start === 'node' ? 3 : 1))) {
        await using service = await Unmodified.start(behaviour, start);
        const { pid } = service;
        const heard = once(service.child.stdout!, 'data');
        service.child.kill('SIGUSR2');
        assert.equal(`${(await heard)[0]}`, `USR2 ${pid}\n`);
        if (path !== undefined) await service.ask(path).catch(() => {});
        if (signal !== undefined) service.child.kill(signal);
        assert.equal((await service.end).code, code, service.stderr);
        assert.ok(!isRunning(pid));
        const left = readdirSync(service.folder.path).toSorted();
        assert.deepEqual(left, ['behaviour', 'fdpasser', 'package.json']);
      }
    },
  );

test('a first version that does not get up ends exec with its code, and with 125 where that is 0', async () => {
  using folder = new Folder();
  for (const [program, code] of [
    [['sh', '-c', 'exit 9'], 9],
    [['true'], 125],
    [['./nonesuch'], 127],
    [['sleep', '60'], 125],
  ] as const) {
    const end = await ended(folder.start(['exec', '--start-timeout', '0.3', '--', ...program]));
    assert.equal(end.code, code);
    assert.match(end.stderr, /^fdpasser: The program did not get up: it .*\n/m);
  }
});
