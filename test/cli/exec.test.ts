import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { amount } from '../support/amount.js';
import { ended } from '../support/child.js';
import { Folder } from '../support/command.js';
import { until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { Service } from '../support/service.js';
import { PAUSE } from '../support/takeover.js';
import { partly, test, testInFull } from '../support/test.js';

const web = fileURLToPath(new URL('children/web.js', import.meta.url));

/** It serves over a socket of exec. */
class OverSocket extends Service {
  constructor(behaviour: string, options: readonly string[] = ['--notify'], program = [process.execPath, web]) {
    super(behaviour, ['--listen', 'web=./web', ...options], program);
  }

  ask(path = '/'): Promise<string> {
    return ask(this.folder.at('web'), path);
  }
}

function ask(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.once('end', () => resolve(text)).once('error', reject);
    });
    request.once('error', reject);
  });
}

/** Makes requests one after the other until it is stopped, and returns how many failed. */
function load(socketPath: string, pause = 0): { stop: () => Promise<{ answered: number; failed: number }> } {
  const stop = new AbortController();
  const count = { answered: 0, failed: 0 };
  const client = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await ask(socketPath, '/').then(
        () => count.answered++,
        () => count.failed++,
      );
      if (pause > 0) await sleep(pause);
    }
  };
  const clients = Promise.all(Array.from({ length: 4 }, client));
  return {
    stop: async () => {
      stop.abort();
      await clients;
      return count;
    },
  };
}

test('replacements under load fail no request and keep the pid, and a plain restart fails some', async () => {
  await using service = new OverSocket('first');
  await service.up(1);
  const { pid } = service.child;
  const clients = load(service.folder.at('web'), PAUSE);
  for (let version = 2; version <= 1 + amount(10, 3); version++) {
    service.behave(`version ${version}`);
    const { code, stdout, stderr } = await service.reload();
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' }, stdout);
    assert.match(stdout, /^\d+ serves, and \d+ is told to end\.\n\d+ has ended\.\n$/);
    assert.match(await service.ask(), new RegExp(`^version ${version} `));
  }
  const { answered, failed } = await clients.stop();
  assert.equal(failed, 0);
  assert.ok(answered > amount(50, 20), `${answered}`);
  assert.equal(service.child.pid, pid);

  const naive = load(service.folder.at('plain'));
  const start = async (): Promise<ReturnType<typeof createServer>> => {
    const server = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n').resume());
    await once(server.listen(service.folder.at('plain')), 'listening');
    return server;
  };
  for (let restart = 0; restart < 3; restart++) {
    const server = await start();
    await ask(service.folder.at('plain'), '/');
    await once(server.close(), 'close');
    await ask(service.folder.at('plain'), '/').catch(() => {});
  }
  assert.ok((await naive.stop()).failed > 0);
});

test('SIGHUP replaces the program', async () => {
  await using service = new OverSocket('one');
  await service.up(1);
  service.behave('two');
  service.child.kill('SIGHUP');
  await service.says(/\d+ has ended/);
  await service.up(2);
  assert.match(await service.ask(), /^two /);
});

for (const [behaviour, why] of [
  ['broken', 'it ended with 9 before it was up'],
  ['killed', 'it ended with 137 (SIGKILL) before it was up'],
  ['mute', 'it was not up within 8 s: it sent no READY=1'],
] as const)
  partly(behaviour === 'killed')(
    `a new version that is ${behaviour} is rolled back and reported by reload, and the old one goes on serving`,
    async () => {
      await using service = new OverSocket('good', ['--notify', '--start-timeout', '8']);
      await service.up(1);
      const [before] = service.status;
      service.behave(behaviour);
      const { code, stderr } = await service.reload();
      assert.equal(code, 1);
      assert.equal(stderr, `fdpasser: Rolled back: ${why}. ${before!.slice(2)} goes on serving.\n`);
      assert.equal(await service.ask(), `good ${before!.slice(2)}`);
      assert.deepEqual(service.status, [before]);
      service.behave('better');
      assert.equal((await service.reload()).code, 0);
      assert.match(await service.ask(), /^better /);
    },
  );

test('of two reloads at the same time one is refused because the other is under way', async () => {
  await using service = new OverSocket('one');
  await service.up(1);
  service.behave('waiting');
  const reloads = [service.reload(), service.reload()];
  const { code, stderr } = await Promise.race(reloads);
  assert.deepEqual({ code, stderr }, { code: 1, stderr: 'fdpasser: Another replacement is under way.\n' });
  writeFileSync(service.folder.at('go'), '');
  const codes = (await Promise.all(reloads)).map((told) => told.code);
  assert.deepEqual(new Set(codes), new Set([0, 1]));
});

testInFull(
  'a crashed program is started again, after longer waits while it does not get up, and no connection is refused',
  async () => {
    await using service = new OverSocket('good');
    await service.up(1);
    const [before] = service.status;
    await assert.rejects(service.ask('/crash'));
    assert.match(await service.ask(), /^good \d+$/); // it waited in the socket
    await until(() => {
      const { status } = service; // it may change from one look to the next
      return status.length === 1 && status[0] !== before;
    });
    service.behave('broken');
    await assert.rejects(service.ask('/crash'));
    await service.says(/started again in 0\.8 s/);
    const pauses = [...service.stderr.matchAll(/started again in ([\d.]+) s/g)].map(([, seconds]) => seconds);
    // Twice 0.1 if it had served for that long between.
    assert.deepEqual(pauses.slice(-4), ['0.1', '0.2', '0.4', '0.8']);
    service.behave('mended');
    assert.match(await service.ask(), /^mended /);
  },
);

test('several workers serve one socket, and all of them are replaced', async () => {
  await using service = new OverSocket('one', ['--notify', '--workers', '3']);
  await service.up(1, 3);
  const before = service.status;
  assert.equal(new Set(before).size, 3);
  assert.equal((await service.reload()).code, 0);
  await service.up(2, 3);
  assert.ok(service.status.every((line) => !before.some((other) => other.slice(2) === line.slice(2))));
});

test('a new version of which one worker ends while others start is rolled back', async () => {
  await using service = new OverSocket('one', ['--notify', '--workers', '2']);
  await service.up(1, 2);
  const before = service.status;
  service.behave('leaving');
  const reload = service.reload();
  const left = service.folder.at('left');
  await until(() => existsSync(left) && readdirSync(left).length > 0);
  await until(() => !existsSync(`/proc/${readdirSync(left)[0]!}`)); // exec knows that it has ended
  writeFileSync(service.folder.at('go'), '');
  const { code, stderr } = await reload;
  assert.equal(code, 1);
  assert.match(stderr, /^fdpasser: Rolled back: it ended with 8 before all were up\. \d+, \d+ go on serving\.\n$/);
  assert.deepEqual(service.status, before);
});

test('a program that reports nothing is up after the interval, and one in another language finds its socket', async () => {
  needs('python3');
  const python = `
import socket, os
assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDS'] == '1', os.environ
assert os.environ['LISTEN_FDNAMES'] == 'web'
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(b'HTTP/1.1 200 OK\\r\\nconnection: close\\r\\n\\r\\nPython')
    connection.close()
`;
  await using service = new OverSocket('', [], ['python3', '-c', python]);
  await service.up(1);
  assert.equal(await service.ask(), 'Python');
});

testInFull('exec ends as its program ends, whether by itself or by a signal', async () => {
  for (const [behaviour, path, signal, code] of [
    ['one', '/leave', undefined, 0],
    ['one', undefined, 'SIGTERM', 0],
    ['code', undefined, 'SIGTERM', 7],
    ['one', undefined, 'SIGINT', 130],
    ['one', undefined, 'SIGQUIT', 131],
  ] as const) {
    await using service = new OverSocket(behaviour);
    await service.up(1);
    if (path !== undefined) await service.ask(path).catch(() => {});
    if (signal !== undefined) service.child.kill(signal);
    assert.deepEqual({ code: (await service.end).code, signal: (await service.end).signal }, { code, signal: null });
    const left = readdirSync(service.folder.path);
    assert.deepEqual(
      left.toSorted(),
      ['behaviour', 'fdpasser'],
      'the socket, the control path and the status are gone',
    );
  }
});

test('a first version that does not get up ends exec with its code', async () => {
  for (const [behaviour, code, seconds] of [
    ['broken', 9, 60],
    ['killed', 137, 60],
    ['mute', 125, 1],
  ] as const) {
    await using service = new OverSocket(behaviour, ['--notify', '--start-timeout', `${seconds}`]);
    assert.equal((await service.end).code, code);
    assert.match(service.stderr, /^fdpasser: The program did not get up: it .*\n/);
  }
});

testInFull('a program that still runs after SIGTERM is killed, and SIGUSR2 is passed on', async () => {
  await using service = new OverSocket('stubborn', ['--notify', '--stop-timeout', '1']);
  await service.up(1);
  const heard = once(service.child.stdout!, 'data');
  service.child.kill('SIGUSR2');
  assert.equal(`${(await heard)[0]}`, 'USR2\n');
  service.behave('next');
  const { code, stdout } = await service.reload();
  assert.equal(code, 0, stdout);
  assert.match(service.stderr, /\d+ still runs 1 s after it was told to end, and is killed\.\n/);
});

test("exec keeps one pid for a service manager, reports its state, and passes the manager's sockets on", async () => {
  needs('python3');
  using folder = new Folder();
  const manager = fileURLToPath(new URL('../../../test/python/manager.py', import.meta.url));
  writeFileSync(folder.at('behaviour'), 'managed');
  const command = [folder.at('fdpasser'), 'exec', '--notify', '--control', 'control', '--', process.execPath, web];
  const spec = { notify: folder.at('notify'), passed: ['web'], command, starts: 1 };
  const server = createServer();
  await once(server.listen(folder.at('web')), 'listening');
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const child = spawn('python3', [manager, JSON.stringify(spec)], {
    cwd: folder.path,
    stdio: ['pipe', 'pipe', 'inherit', fd],
  });
  const end = ended(child);
  let told = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (told += text));
  await until(() => told.includes('READY=1'));
  const { started } = JSON.parse(told.split('\n')[0]!) as { started: number };
  server.close();
  process.kill(started, 'SIGHUP');
  await until(() => (told.match(/READY=1/g)?.length ?? 0) === 2);
  process.kill(started, 'SIGTERM');
  await end;
  const words = [...told.matchAll(/"told": "(\w+)=/g)].map(([, word]) => word);
  assert.deepEqual(words, ['READY', 'RELOADING', 'READY', 'STOPPING']);
});

for (const [args, says] of [
  [['--listen', '80'], /^fdpasser: CMD is missing: write it after --\.\n/],
  [['--listen', 'nothing', '--', 'true'], /^fdpasser: --listen nothing must be PORT, HOST:PORT, a path .*\n/],
  [['--listen', '99999', '--', 'true'], /^fdpasser: --listen 99999 must be /],
  [['--listen', '203.0.113.1:1', '--', 'true'], /^fdpasser: listen EADDRNOTAVAIL: .*203\.0\.113\.1:1\.\n$/],
  [['--listen', './none/web', '--', 'true'], /^fdpasser: ENOENT: .*none\/web'.*\n$/],
  [['--listen', './web', '--workers', '0', '--', 'true'], /^fdpasser: --workers must be a whole number /],
  [['--listen', './web', '--interval', 'soon', '--', 'true'], /^fdpasser: --interval must be a number of seconds/],
] as [string[], RegExp][])
  test(`"fdpasser exec ${args.join(' ')}" is refused with the reason`, async () => {
    using folder = new Folder();
    const { code, stdout, stderr } = await ended(folder.start(['exec', ...args]));
    assert.deepEqual({ code, stdout }, { code: 125, stdout: '' });
    assert.match(stderr, says);
  });

test('a status file that cannot be written is told, leaves nothing, and changes no exit code', async () => {
  using folder = new Folder();
  mkdirSync(folder.at('status'));
  const args = ['--status-file', 'status', '--interval', '0.01', '--listen', './web', '--', 'sleep', '0.5'];
  const { code, stderr } = await ended(folder.start(['exec', ...args]));
  assert.match(stderr, /The status file was not written yet: EISDIR/);
  assert.deepEqual(readdirSync(folder.path).toSorted(), ['fdpasser', 'status']);
  assert.equal(code, 0);
});
