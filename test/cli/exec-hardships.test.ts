/** `fdpasser exec` and a program that listens by itself, when something else goes wrong at the same time. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { amount } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { Service } from '../support/service.js';
import { ask, Load } from '../support/takeover.js';
import { partly, test, testInFull } from '../support/test.js';
import { app, Unmodified } from '../support/unmodified.js';

const WORKERS = 3;
const SEVERAL = ['--workers', `${WORKERS}`];
const HOST = '127.0.0.1';

const child = (name: string): string => fileURLToPath(new URL(`children/${name}.js`, import.meta.url));

/** A connection that its process has accepted, with a request that goes on until it is destroyed. */
async function busy(port: number): Promise<Socket> {
  const socket = connect(port, HOST);
  await once(socket, 'connect');
  socket.write('GET / HTTP/1.1\r\n');
  await ask({ port }); // comes later, and is accepted later
  return socket;
}

test('the status file names only processes that serve', async () => {
  await using service = await Unmodified.start('one', 'node', [...SEVERAL, '--interval', '60']);
  const [first, ...others] = service.pids;
  process.kill(first!, 'SIGKILL');
  await until(() => service.pids.length < WORKERS);
  assert.deepEqual(service.pids, others);
});

partly(false)('a program that crashes whenever it serves is started again after longer and longer pauses', async () => {
  await using service = await Unmodified.start('one', 'node', ['--interval', '0.5']);
  while (!service.stderr.includes('again in 2 s')) await service.ask('/crash').catch(() => {});
  const pauses = [...service.stderr.matchAll(/started again in ([\d.]+) s/g)].map(([, seconds]) => seconds);
  assert.deepEqual(pauses, ['0.5', '1', '2']);
});

test('a version that is rolled back serves nobody, also where the old worker had crashed', async () => {
  await using service = await Unmodified.start('old', 'node', [...SEVERAL, '--interval', '4']);
  const [first, second, third] = service.pids;
  for (const pid of [first!, second!]) process.kill(pid, 'SIGKILL');
  await service.says(/ended with 137/, 2);
  service.behave('new, and one is crashing');
  const { code, stderr } = await service.reload();
  service.behave('old');
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`^fdpasser: Rolled back: .* ${third!} goes on serving\\.\\n$`));
  for (let all = false; !all;) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => service.ask()));
    all = answers.every((answer) => answer.startsWith('old '));
  }
});

testInFull('a server that a new version closes is closed, though the old one still drains', async () => {
  const port = await freePort();
  await using service = new Service(
    '',
    [],
    [process.execPath, child('several'), JSON.stringify({ port, path: 'web' })],
  );
  await service.up(1);
  const socket = await busy(port);
  const reload = service.reload();
  await service.up(2);
  await sleep(300); // longer than the interval, after which what is unused is closed anyway
  await ask({ port }, '/close');
  for (let code: string | undefined = ''; code !== 'ECONNREFUSED';)
    code = await ask({ port }).then(
      () => '',
      (error: NodeJS.ErrnoException) => error.code,
    );
  await ask({ socketPath: service.folder.at('web') });
  socket.destroy();
  assert.equal((await reload).code, 0);
});

testInFull('an old version that closes its server when it has drained closes it for nobody else', async () => {
  const command = ['env', 'NODE_DEBUG=fdpasser', process.execPath, app];
  await using service = await Unmodified.start('closing', command);
  const { pid } = service;
  const socket = await busy(service.port);
  const reload = service.reload();
  await service.says(/CONFIRMED from process/);
  service.behave('broken');
  await service.ask('/crash').catch(() => {});
  await service.says(/ended with 3/);
  socket.destroy();
  const { code, stdout } = await reload;
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(`${pid} has ended`));
  const answer = service.ask(); // waits, and is not refused
  service.behave('better');
  assert.match(await answer, /^better /);
});

for (const workers of [1, WORKERS])
  partly(workers === 1)(`a program of ${workers} that closes its server can listen there again at once`, async () => {
    const port = await freePort();
    await using service = new Service('', ['--workers', `${workers}`], [process.execPath, child('reopens'), `${port}`]);
    await service.says(/stays open/, workers);
    await ask({ port });
    assert.doesNotMatch(service.stderr, /Error|Warning/);
    assert.equal((await service.reload()).code, 0);
  });

testInFull('a program that tries its port first, and listens later, takes over when it listens', async () => {
  const port = await freePort();
  const program = [process.execPath, child('probes'), `${port}`, '500'];
  await using service = new Service('', ['--interval', '2'], program);
  await service.says(/listens later/);
  for (let generation = 2; generation <= 3; generation++) {
    const before = await ask({ port });
    const { code, stdout, stderr } = await service.reload();
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' }, stdout);
    await service.up(generation);
    assert.notEqual(await ask({ port }), before);
  }
  assert.doesNotMatch(service.stderr, /killed|ended with/);
});

/** Its server is closed when it has asked for the handover, and before the old one, which is stopped, agrees. */
async function closesAtConfirm(service: Service, old: number): Promise<number> {
  await service.says(/SERVING from process/);
  process.kill(old, 'SIGSTOP');
  await service.says(new RegExp(`CONFIRM to process ${old}`));
  const next = Number(new RegExp(`(\\d+): takeover: CONFIRM to process ${old}`).exec(service.stderr)![1]);
  process.kill(next, 'SIGUSR2');
  await service.says(new RegExp(`${next} has tried`));
  process.kill(old, 'SIGCONT');
  return next;
}

test('a program that closes its server while the old one hands over takes over when it listens again', async () => {
  const port = await freePort();
  await using service = tries(port);
  await service.up(1);
  const old = Number(service.status[0]!.split(':')[1]);
  await triesAndListens(service, old);
  const reload = service.reload();
  const next = await closesAtConfirm(service, old);
  assert.equal(await ask({ port }), `${old}`);
  await sleep(1500); // longer than the interval, after which what is unused is closed
  assert.equal(await ask({ port }), `${old}`);
  process.kill(next, 'SIGUSR2');
  await service.says(new RegExp(`${next} listens`));
  const { code, stderr } = await reload;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.deepEqual(service.status, [`2:${next}`]);
  assert.equal(await ask({ port }), `${next}`);
  assert.doesNotMatch(service.stderr, /killed|ended with|EADDRINUSE/);
});

test('a program that closes its server then, and does not listen again in time, is rolled back', async () => {
  const port = await freePort();
  await using service = tries(port, ['--start-timeout', '8']);
  await service.up(1);
  const old = Number(service.status[0]!.split(':')[1]);
  await triesAndListens(service, old);
  const reload = service.reload();
  await closesAtConfirm(service, old);
  const { code, stderr } = await reload;
  const why = 'Rolled back: it was not up within 8 s';
  assert.deepEqual({ code, stderr }, { code: 1, stderr: `fdpasser: ${why}. ${old} goes on serving.\n` });
  assert.deepEqual(service.status, [`1:${old}`]);
  assert.equal(await ask({ port }), `${old}`);
  assert.equal(service.child.exitCode, null);
});

function tries(port: number, options: readonly string[] = []): Service {
  const program = ['env', 'NODE_DEBUG=fdpasser', process.execPath, child('tries'), `${port}`];
  return new Service('', ['--interval', '1', ...options], program);
}

async function triesAndListens(service: Service, pid: number): Promise<void> {
  for (const done of ['has tried', 'listens']) {
    process.kill(pid, 'SIGUSR2');
    await service.says(new RegExp(`${pid} ${done}`));
  }
}

for (const workers of [1, WORKERS])
  partly(workers === 1)(
    `${workers} of an old version are found again at a path that a failed one had removed and bound`,
    async () => {
      const program = [process.execPath, child('removes')];
      await using service = new Service('old', ['--workers', `${workers}`, '--interval', '3'], program);
      await service.up(1, workers);
      const where = { socketPath: service.folder.at('web') };
      assert.match(await ask(where), /^old /);
      service.behave('broken');
      const reload = service.reload();
      // Until a new one has accepted it, and ends.
      for (let code: string | undefined = ''; code !== 'ECONNRESET';)
        code = await ask(where).then(
          () => '',
          (error: NodeJS.ErrnoException) => error.code,
        );
      assert.equal((await reload).code, 1);
      for (let times = 0; times < 10; times++) assert.match(await ask(where), /^old /);
      service.behave('new');
      assert.equal((await service.reload()).code, 0);
      assert.match(await ask(where), /^new /);
    },
  );

test('a program that listens at another host of its port after a crash gets it', async () => {
  const port = await freePort();
  const source = `require('node:http').createServer((request, response) => {
    if (request.url === '/crash') process.exit(3);
    response.end(String(process.pid));
  }).listen(${port}, ...require('node:fs').readFileSync('behaviour', 'utf8').split(' ').filter(Boolean));`;
  await using service = new Service('', [], [process.execPath, '-e', source]);
  await service.up(1);
  for (const host of [HOST, '0.0.0.0']) {
    service.behave(host);
    await ask({ port }, '/crash').catch(() => {});
    for (let answer = ''; answer === '';) answer = await ask({ port }).catch(() => '');
  }
  assert.doesNotMatch(service.stderr, /EADDRINUSE/);
});

testInFull('workers share the datagrams of IPv4 and those of IPv6 at one port, also after a replacement', async () => {
  if (!Object.values(networkInterfaces()).some((all) => all?.some(({ family }) => family === 'IPv6'))) return;
  const port = await freePort();
  const bind = (type: string): string =>
    `createSocket({ type: '${type}', ipv6Only: ${type === 'udp6'} }).bind(${port}, () => console.error('bound ${type}'))`;
  const source = `const { createSocket } = require('node:dgram'); ${bind('udp4')}; ${bind('udp6')};`;
  await using service = new Service('', ['--workers', '2'], [process.execPath, '-e', source]);
  for (let generation = 1; generation <= 2; generation++) {
    await service.up(generation, 2);
    await service.says(/bound udp4/, 2 * generation);
    await service.says(/bound udp6/, 2 * generation);
    assert.equal((await service.reload()).code, 0);
  }
});

testInFull('a server whose process has crashed is not closed before its launcher ends', async () => {
  const command = ['sh', '-c', `PORT=$PORT '${process.execPath}' '${app}'; sleep 4; exit 3`];
  await using service = await Unmodified.start('one', command, ['--interval', '2']);
  await service.ask('/crash').catch(() => {});
  assert.match(await service.ask(), /^one /); // waits, and is not refused
  assert.match(service.stderr, /ended with 3/);
});

/** A process may have only the numbers below as descriptors, from now on. */
function limit(pid: number, numbers: number): void {
  execFileSync('prlimit', [`--pid=${pid}`, `--nofile=${numbers}:`]);
}

/** A process may open only so many descriptors more, from now on. */
function leave(pid: number, left: number): void {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let numbers = 0;
  for (let free = 0; free < left || open.has(numbers); numbers++) if (!open.has(numbers)) free++;
  limit(pid, numbers);
}

testInFull('however few descriptors exec has left, it goes on, and a reload replaces all workers or none', async () => {
  needs('prlimit');
  await using service = await Unmodified.start('one', 'node', SEVERAL);
  const { pid } = service.child;
  const load = new Load({ port: service.port });
  try {
    for (let left = 0; left <= 24; left += amount(3, 6, 1)) {
      const before = service.pids;
      leave(pid!, left);
      const { code } = await service.reload();
      limit(pid!, 1000);
      // It is written when the table has room.
      await until(() => service.pids.filter((each) => before.includes(each)).length === (code === 0 ? 0 : WORKERS));
      assert.equal(service.pids.length, WORKERS, service.stderr);
    }
    const [first] = service.pids;
    limit(pid!, 0);
    process.kill(first!, 'SIGKILL');
    await service.says(/The program was not started: EMFILE/);
    limit(pid!, 1000);
    await until(() => {
      const { pids } = service; // they may change from one look to the next
      return pids.length === WORKERS && !pids.includes(first!);
    });
    assert.equal((await service.reload()).code, 0);
  } finally {
    await load.stop();
  }
  assert.deepEqual(
    load.errors.filter(({ code }) => code !== 'ECONNRESET'), // of the one that was killed
    [],
  );
});
