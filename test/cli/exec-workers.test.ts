/** `fdpasser exec --workers N` with a program that listens by itself. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { amount } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { Crowd, type CrowdOptions } from '../support/crowd.js';
import { until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { Service } from '../support/service.js';
import { ask, isStopped, Load } from '../support/takeover.js';
import { partly, test, testInFull } from '../support/test.js';
import { Unmodified } from '../support/unmodified.js';

const root = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const http = root('test/takeover/programs/http.cjs');
const several = fileURLToPath(new URL('children/several.js', import.meta.url));

const WORKERS = 3;
const OPTIONS = ['--workers', `${WORKERS}`];
const HOST = '127.0.0.1';

function pidsOf({ status }: Service): number[] {
  return status.map((line) => Number(line.split(':')[1]));
}

/** Runs `body` while clients ask at the port, over connections that they keep and new ones. They notice nothing. */
async function unnoticed(
  port: number,
  clients: Omit<CrowdOptions, 'where'>,
  body: (crowd: Crowd) => Promise<void>,
): Promise<void> {
  const crowd = new Crowd({ where: { host: HOST, port }, ...clients });
  const load = new Load({ port });
  try {
    await crowd.begins();
    const { connections } = crowd;
    await body(crowd);
    assert.deepEqual([crowd.connections, crowd.asked], [connections, 0], 'nobody has connected again');
  } finally {
    await crowd.stop();
    await load.stop();
  }
  assert.deepEqual([crowd.errors, load.errors], [[], []]);
}

test('replacements of several workers go unnoticed by clients of every kind, and keep the pid of exec', async () => {
  const port = await freePort();
  await using service = new Service('', OPTIONS, [process.execPath, http, JSON.stringify({ host: HOST, port })]);
  await service.up(1, WORKERS);
  const { pid } = service.child;
  const clients = { keepAlive: amount(16, 8), webSockets: amount(10, 5), bodies: true };
  await unnoticed(port, clients, async (crowd) => {
    const last = 1 + amount(5, 2);
    for (let generation = 2; generation <= last; generation++) {
      const before = pidsOf(service);
      const { code, stdout, stderr } = await service.reload();
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' }, `${stdout}${service.stderr}`);
      await service.up(generation, WORKERS);
      const [first] = stdout.split('\n');
      assert.equal(first, `${pidsOf(service).join(', ')} serve, and ${before.join(', ')} drain.`);
      assert.ok(!pidsOf(service).some((pid) => before.includes(pid)));
      await crowd.goesOn();
    }
  });
  assert.equal(service.child.pid, pid);
  assert.equal(service.child.exitCode, null);
});

testInFull('SIGHUP replaces a supervisor with its workers under load, and no client notices', async () => {
  const port = await freePort();
  await using service = new Service('', [], [process.execPath, root('examples/balance.js'), `${port}`]);
  await service.up(1);
  await unnoticed(port, { keepAlive: amount(16, 8) }, async (crowd) => {
    for (let generation = 2; generation <= 1 + amount(4, 2); generation++) {
      const [before] = pidsOf(service);
      service.child.kill('SIGHUP');
      await service.up(generation);
      await until(() => !isRunning(before!));
      await crowd.goesOn();
    }
  });
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

partly(false)('several workers that npm starts are replaced under load, and get signals', async () => {
  await using service = await Unmodified.start('one', 'npm start', OPTIONS);
  const before = service.pids;
  const load = new Load({ port: service.port });
  service.behave('two');
  const { code, stderr } = await service.reload();
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.equal(service.pids.length, WORKERS);
  assert.ok(!service.pids.some((pid) => before.includes(pid)));
  assert.match(await service.ask(), /^two /);
  await load.stop();
  assert.deepEqual(load.errors, []);
  let heard = '';
  service.child.stdout!.on('data', (bytes) => (heard += `${bytes}`));
  service.child.kill('SIGUSR2');
  await until(() => service.pids.every((pid) => heard.includes(`USR2 ${pid}\n`)));
});

test('a killed worker loses only its own connections, and is started again', async () => {
  await using service = await Unmodified.start('one', 'node', OPTIONS);
  const crowd = new Crowd({ where: { host: HOST, port: service.port }, keepAlive: 8 });
  try {
    await crowd.begins();
    for (let times = 0; times < amount(3, 1); times++) {
      const { pids } = service;
      process.kill(pids[0]!, 'SIGKILL');
      await until(() => {
        const now = service.pids; // they may change from one look to the next
        return now.length === WORKERS && !now.includes(pids[0]!);
      });
      assert.deepEqual(service.pids.slice(0, -1), pids.slice(1), service.stderr);
      await crowd.goesOn();
    }
    assert.match(
      service.stderr,
      new RegExp(`${WORKERS > 0 ? '' : ''}ended with 137 \\(SIGKILL\\)\\.\\n.* is started again in 0\\.1 s`),
    );
  } finally {
    await crowd.stop();
  }
  // Those that the killed one had. Nobody is refused.
  assert.deepEqual(
    crowd.errors.filter((error) => !/ECONNRESET|socket hang up/.test(error)),
    [],
  );
});

/** Connects, without waiting for anybody to accept. */
async function connected(port: number): Promise<Socket> {
  const socket = connect(port, HOST);
  await once(socket, 'connect');
  return socket;
}

const REQUEST = 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n';

test('connections that wait when a worker is killed are answered by another, or by the next', async () => {
  await using service = await Unmodified.start('one', 'node', ['--workers', '2']);
  const [first, second] = service.pids as [number, number];
  for (const pid of [first, second]) process.kill(pid, 'SIGSTOP');
  await until(() => [first, second].every(isStopped));
  const waiting = await Promise.all(Array.from({ length: 20 }, () => connected(service.port)));
  const answers = waiting.map((socket) => text(socket));
  for (const socket of waiting) socket.write(REQUEST);
  for (const pid of [first, second]) process.kill(pid, 'SIGKILL');
  for (const answer of await Promise.all(answers)) assert.match(answer, /^HTTP\/1\.1 200[^]*one \d+$/);
  assert.ok(!service.pids.includes(first) && !service.pids.includes(second));
});

testInFull('of the connections that wait at a port that two sockets share some are lost with one of them', async () => {
  needs('python3');
  const port = await freePort();
  const python = `
import socket, sys
def listener():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(('${HOST}', ${port}))
    made.listen(64)
    return made
first, second = listener(), listener()
print('listens', flush=True)
sys.stdin.readline()
first.close()
second.setblocking(False)
accepted = []
try:
    while True:
        accepted.append(second.accept()[0])
except BlockingIOError:
    pass
for each in accepted:
    each.sendall(b'answer')
    each.close()
`;
  const child = spawn('python3', ['-c', python], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  const waiting = await Promise.all(Array.from({ length: 20 }, () => connected(port)));
  const answers = waiting.map((socket) => text(socket).catch(() => 'lost'));
  child.stdin.end('go\n');
  const all = await Promise.all(answers);
  await ended;
  assert.ok(all.includes('lost') && all.includes('answer'), all.join(', '));
});

for (const [behaviour, why] of [
  ['new, and one is broken', 'it ended with 9 before it was up'],
  [
    'new, and one is mute',
    'it was not up within 8 s: no Node process of it listened, and a program in another language needs --listen',
  ],
] as const)
  partly(behaviour.endsWith('broken'))(`a version (${behaviour}) serves nobody and is rolled back`, async () => {
    await using service = await Unmodified.start('old', 'node', [...OPTIONS, '--start-timeout', '8']);
    const { pids } = service;
    const crowd = new Crowd({ where: { host: HOST, port: service.port }, keepAlive: 8 });
    const load = new Load({ port: service.port });
    try {
      await crowd.begins();
      const { connections } = crowd;
      service.behave(behaviour);
      const { code, stderr } = await service.reload();
      const said = `fdpasser: Rolled back: ${why}. ${pids.join(', ')} go on serving.\n`;
      assert.deepEqual({ code, stderr }, { code: 1, stderr: said });
      assert.deepEqual(service.pids, pids);
      await crowd.goesOn();
      assert.equal(crowd.connections, connections);
    } finally {
      await crowd.stop();
      await load.stop();
    }
    assert.deepEqual([crowd.errors, load.errors], [[], []]);
    assert.ok(
      [...load.pids].every((answer) => answer.startsWith('old ')),
      [...load.pids].join(', '),
    );
    service.behave('better');
    assert.equal((await service.reload()).code, 0);
    assert.match(await service.ask(), /^better /);
  });

testInFull(
  'a version of which one worker crashes in its probation is taken back, and clients of the others notice nothing',
  async () => {
    await using service = await Unmodified.start('old', 'node', [...OPTIONS, '--interval', '2']);
    const { pids } = service;
    const crowd = new Crowd({ where: { host: HOST, port: service.port }, keepAlive: 8 });
    const load = new Load({ port: service.port });
    try {
      await crowd.begins();
      service.behave('new, and one is crashing');
      const { code, stderr } = await service.reload();
      const said = `fdpasser: Rolled back: it ended with 8 before it was up. ${pids.join(', ')} go on serving.\n`;
      assert.deepEqual({ code, stderr }, { code: 1, stderr: said });
      const answered = [...load.pids].filter((answer) => answer.startsWith('new '));
      assert.ok(answered.length > 0, 'others of that version had begun to serve');
      await crowd.goesOn();
      assert.deepEqual(service.pids, pids);
      for (let times = 0; times < 20; times++) assert.match(await service.ask(), /^old /);
    } finally {
      await crowd.stop();
      await load.stop();
    }
    // Those of the one that crashed, if it had any.
    const errors = [...crowd.errors, ...load.errors.map(({ code }) => `${code}`)];
    assert.deepEqual(
      errors.filter((error) => !/ECONNRESET|socket hang up/.test(error)),
      [],
    );
  },
);

test('a new worker that is stopped when another one crashes goes on, so that it can give back what it has', async () => {
  await using service = await Unmodified.start('old', 'node', ['--workers', '2', '--interval', '2']);
  const { pids } = service;
  service.behave('stopped, and one is crashing');
  const { code, stderr } = await service.reload();
  const said = `fdpasser: Rolled back: it ended with 8 before it was up. ${pids.join(', ')} go on serving.\n`;
  assert.deepEqual({ code, stderr }, { code: 1, stderr: said });
  for (let times = 0; times < 20; times++) assert.match(await service.ask(), /^old /);
  assert.doesNotMatch(service.stderr, /is killed/);
});

testInFull(
  'a new worker that dies before its takeover is over is started again, and the old one serves until then',
  async () => {
    await using service = await Unmodified.start('old', 'node', [...OPTIONS, '--interval', '2']);
    const { pids } = service;
    const load = new Load({ port: service.port });
    try {
      service.behave('new');
      const reload = service.reload();
      await until(() => [...load.pids].some((answer) => answer.startsWith('new ')));
      const chosen = Number([...load.pids].find((answer) => answer.startsWith('new '))!.split(' ')[1]);
      process.kill(chosen, 'SIGSTOP'); // it does not hear that it is to serve for good
      await until(() => pids.filter(isRunning).length === 1);
      process.kill(chosen, 'SIGKILL');
      const { code, stdout } = await reload;
      assert.equal(code, 0);
      assert.match(stdout, /has ended\.\n$/);
      await service.up(2, WORKERS);
      assert.ok(!service.pids.includes(chosen));
      for (let times = 0; times < 20; times++) assert.match(await service.ask(), /^new /);
    } finally {
      await load.stop();
    }
    // What the stopped one had accepted.
    assert.deepEqual(
      load.errors.filter(({ code }) => code !== 'ECONNRESET'),
      [],
    );
  },
);

testInFull('workers share each server, whenever it listens, and datagrams', async () => {
  const [port, later, datagrams] = [await freePort(), await freePort(), await freePort()];
  const program = [process.execPath, several, JSON.stringify({ port, later, datagrams, path: 'web' })];
  await using service = new Service('', OPTIONS, program);
  await service.up(1, WORKERS);
  const path = service.folder.at('web');
  await service.says(/listens later/, WORKERS);
  const loads = [new Load({ port }), new Load({ port: later }), new Load({ socketPath: path })];
  const crowd = new Crowd({ where: { host: HOST, port: datagrams }, protocol: 'udp', keepAlive: 2 });
  try {
    await Promise.all(loads.map((load) => load.answers(5)));
    await crowd.begins();
    // One worker closes its server: the others still have it.
    assert.match(await ask({ socketPath: path }, '/close'), /closed/);
    await ask({ socketPath: path });
    const { code, stderr } = await service.reload();
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    await Promise.all(loads.map((load) => load.answers(5)));
    await crowd.goesOn();
  } finally {
    await Promise.all([crowd.stop(), ...loads.map((load) => load.stop())]);
  }
  assert.deepEqual([crowd.errors, ...loads.map(({ errors }) => errors)], [[], [], [], []]);
  service.child.kill('SIGTERM');
  await service.end;
  assert.ok(!existsSync(path), 'exec removes the path');
});

testInFull(
  'a path that each process removes before it listens there leads to one of them, also after a replacement',
  async () => {
    for (const workers of [1, WORKERS]) {
      const program = [
        process.execPath,
        several,
        JSON.stringify({ port: await freePort(), path: 'web', removes: true }),
      ];
      await using service = new Service('', ['--workers', `${workers}`], program);
      for (let generation = 1; generation <= 3; generation++) {
        await service.up(generation, workers);
        const path = service.folder.at('web');
        let answer: number | undefined;
        while (answer === undefined) answer = await ask({ socketPath: path }).then(Number, () => undefined); // not yet
        assert.ok(pidsOf(service).includes(answer));
        const { code, stderr } = await service.reload();
        assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
      }
    }
  },
);

testInFull('what a new version does not listen on any more, or only one that was given up, is closed', async () => {
  const [port, never, next] = [await freePort(), await freePort(), await freePort()];
  await using service = new Service(`${port}`, OPTIONS, [process.execPath, several, 'behaviour']);
  await service.up(1, WORKERS);
  await ask({ port });
  service.behave(`${never} and ends`);
  assert.equal((await service.reload()).code, 1);
  await isClosed(never);
  await ask({ port });
  service.behave(`${next}`);
  assert.equal((await service.reload()).code, 0);
  await isClosed(port);
  await ask({ port: next });
});

/** Waits until connections are refused there. */
async function isClosed(port: number): Promise<void> {
  for (let code: string | undefined = ''; code !== 'ECONNREFUSED'; await sleep(20))
    code = await ask({ port }).then(
      () => 'an answer',
      (error: NodeJS.ErrnoException) => error.code,
    );
}

test('a server at any free port is announced to be of one worker alone', async () => {
  const port = await freePort();
  const program = [process.execPath, several, JSON.stringify({ port, later: 0 })];
  await using service = new Service('', OPTIONS, program);
  await service.up(1, WORKERS);
  await service.says(/Warning: A server listens at any free port: this process alone has it/, WORKERS);
  await ask({ port });
});

test('workers go on serving when exec is killed, and a version in its probation leaves', async () => {
  const service = await Unmodified.start('old', 'node', [...OPTIONS, '--interval', '60']);
  const { pids } = service;
  const load = new Load({ port: service.port });
  try {
    service.behave('new');
    service.child.kill('SIGHUP');
    await until(() => [...load.pids].some((answer) => answer.startsWith('new ')));
    service.child.kill('SIGKILL');
    await once(service.child, 'exit');
    for (let all = false; !all;) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => service.ask()));
      all = answers.every((answer) => answer.startsWith('old '));
    }
  } finally {
    await load.stop();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await service[Symbol.asyncDispose]();
  }
  assert.deepEqual(load.errors, []);
});
