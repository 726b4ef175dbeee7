import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { release } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { barrier, listenFds, notify, store, unstore, watchdog } from 'fdpasser/systemd';
import { amount } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { anonymousFile, closeAll, identity, inFolder } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { test, testInFull } from '../support/test.js';

const MANAGER = fileURLToPath(new URL('../../../test/python/manager.py', import.meta.url));
const SERVICE = fileURLToPath(new URL('children/service.js', import.meta.url));

const [major, minor] = release().split('.').map(Number);

interface Spec {
  task: string;
  args?: string[];
  /** The descriptors to pass, with their names. */
  passed?: [name: string, fd: number][];
  env?: Record<string, string>;
  starts?: number;
  deaf?: boolean;
  abstract?: boolean;
}

type Event = { started?: number; told?: string; files?: string[]; ended?: number; code?: string };

/** Runs a service under a manager of its own. `body` reads what happens. */
async function managed(
  { task, args = [], passed = [], abstract = false, ...spec }: Spec,
  body: (next: () => Promise<Event>, manager: ChildProcess) => Promise<void>,
): Promise<void> {
  needs('python3');
  await inFolder(async (folder) => {
    const { LD_PRELOAD: preload, ...env } = process.env;
    const whole = {
      ...spec,
      env: { ...spec.env, ...(preload === undefined ? {} : { LD_PRELOAD: preload }) },
      notify: abstract ? `@${folder}` : join(folder, 'notify'),
      passed: passed.map(([name]) => name),
      command: [process.execPath, SERVICE, task, ...args],
    };
    const stdio = ['pipe', 'pipe', 'inherit', ...passed.map(([, fd]) => fd)] as const;
    const manager = spawn('python3', [MANAGER, JSON.stringify(whole)], { stdio: [...stdio], env });
    try {
      const lines = createInterface({ input: manager.stdout! })[Symbol.asyncIterator]();
      await body(async () => JSON.parse((await lines.next()).value as string) as Event, manager);
    } finally {
      manager.stdin!.destroy();
      manager.kill('SIGKILL');
      if (manager.exitCode === null && manager.signalCode === null) await once(manager, 'close');
    }
  });
}

/** Skips the manager's reports about the process, and returns the service's own next report. */
async function report<T>(next: () => Promise<Event>): Promise<T> {
  for (;;) {
    const { told, ended } = await next();
    assert.equal(ended, undefined, 'the service ended without a report');
    if (told?.startsWith('X_REPORT=')) return JSON.parse(told.slice('X_REPORT='.length)) as T;
  }
}

async function endsWell(next: () => Promise<Event>): Promise<void> {
  for (;;) {
    const { ended } = await next();
    if (ended === undefined) continue;
    assert.equal(ended, 0);
    return;
  }
}

test('a service gets its descriptors by name, close-on-exec, and no child of it gets them', async () => {
  const files = [anonymousFile(), anonymousFile(), anonymousFile()] as const;
  const passed: [string, number][] = [
    ['web', files[0]],
    ['control', files[1]],
    ['web', files[2]],
  ];
  await managed({ task: 'passed', passed }, async (next) => {
    assert.deepEqual(await report(next), {
      passed: [
        { name: 'web', files: [identity(files[0]), identity(files[2])], closeOnExec: true },
        { name: 'control', files: [identity(files[1])], closeOnExec: true },
      ],
      variables: [],
      again: 0,
    });
    await endsWell(next);
  });
  closeAll(files);
});

/** Variables that a core under a sanitizer needs, in an environment that is not inherited. */
function passedOn(): string[] {
  const { PRELOAD, ASAN_OPTIONS } = process.env;
  return PRELOAD === undefined ? [] : ['-E', `LD_PRELOAD=${PRELOAD}`, '-E', `ASAN_OPTIONS=${ASAN_OPTIONS}`];
}

test('systemd-socket-activate passes its sockets by name', async () => {
  needs('systemd-socket-activate');
  const port = await freePort();
  const activate = spawn(
    'systemd-socket-activate',
    ['-l', `127.0.0.1:${port}`, '--fdname=web', ...passedOn(), process.execPath, SERVICE, 'answers'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const stderr = createInterface({ input: activate.stderr })[Symbol.asyncIterator]();
  assert.match((await stderr.next()).value as string, /^Listening on /);
  assert.equal(await ask(port), `web ${activate.pid}`);
  await once(activate, 'close');
  assert.equal(activate.exitCode, 0);
});

test('descriptors that were passed to another process are not taken', async () => {
  const file = anonymousFile();
  const others: Record<string, string>[] = [{ LISTEN_PID: '1' }];
  // Before Linux 6.9 a process cannot be told from an earlier one of the same pid.
  if (major! > 6 || (major === 6 && minor! >= 9)) others.push({ LISTEN_PIDFDID: '1' });
  for (const env of others)
    await managed({ task: 'passed', passed: [['web', file]], env }, async (next) => {
      assert.deepEqual(await report(next), { passed: [], variables: [], again: 0 });
      await endsWell(next);
    });
  closeAll([file]);
});

for (const [title, env, code] of [
  ['fewer names than descriptors', { LISTEN_FDNAMES: 'a' }, 'ERR_FDPASSER_ENVIRONMENT'],
  ['more names than descriptors', { LISTEN_FDNAMES: 'a:b:c' }, 'ERR_FDPASSER_ENVIRONMENT'],
  ['a count that is no number', { LISTEN_FDS: 'two' }, 'ERR_FDPASSER_ENVIRONMENT'],
  [
    'more descriptors than are open',
    { LISTEN_FDS: '900', LISTEN_FDNAMES: 'a'.repeat(900).split('').join(':') },
    'EBADF',
  ],
] as const)
  test(`${title}: nothing is taken, and the environment is as it was`, async () => {
    const files = [anonymousFile(), anonymousFile()] as const;
    const passed: [string, number][] = [
      ['web', files[0]],
      ['control', files[1]],
    ];
    await managed({ task: 'refused', passed, env }, async (next) => {
      const variables = ['LISTEN_FDNAMES', 'LISTEN_FDS', 'LISTEN_PID'];
      assert.deepEqual(await report(next), { code, variables });
      await endsWell(next);
    });
    closeAll(files);
  });

test('a descriptor that was not passed is refused, although Node has opened its number', () => {
  const program = `import { listenFds } from 'fdpasser/systemd';
    try { listenFds(); } catch ({ code }) { console.log(code); }`;
  const shell = 'LISTEN_PID=$$ exec "$0" --input-type=module -e "$1"';
  const printed = execFileSync('sh', ['-c', shell, process.execPath, program], {
    encoding: 'utf8',
    env: { ...process.env, LISTEN_FDS: '1' },
  });
  assert.equal(printed, 'EBADF\n');
});

for (const abstract of [false, true])
  test(`a manager at ${abstract ? 'an abstract name' : 'a path'} gets messages in order, with the time of a reload`, async () => {
    await managed({ task: 'words', abstract }, async (next) => {
      assert.ok((await next()).started);
      assert.equal((await next()).told, 'READY=1\nSTATUS=all is well');
      const reload = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec((await next()).told!);
      assert.equal((await next()).told, 'STOPPING=1');
      const { now } = await report<{ now: string }>(next);
      const age = Number(now) - Number(reload![1]);
      assert.ok(age >= 0 && age < 60_000_000, `${age} µs`);
      await endsWell(next);
    });
  });

test('stored descriptors also stay with the service, and are removed by name', async () => {
  await managed({ task: 'stores' }, async (next) => {
    assert.ok((await next()).started);
    const { told, files } = await next();
    assert.equal(told, 'FDSTORE=1\nFDNAME=web');
    assert.equal(files!.length, 1);
    assert.deepEqual(await report(next), { listening: true });
    assert.equal((await next()).told, 'FDSTOREREMOVE=1\nFDNAME=web');
    await endsWell(next);
  });
});

test('a barrier resolves when the manager has taken the messages before it', async () => {
  await managed({ task: 'barrier' }, async (next) => {
    assert.ok((await next()).started);
    assert.equal((await next()).told, 'STATUS=first');
    assert.equal((await next()).told, 'BARRIER=1');
    assert.deepEqual(await report(next), { barrier: true });
    await endsWell(next);
  });
});

test('a barrier that the manager took in time resolves, although the process looks for it only after the timeout', () =>
  inFolder((folder) =>
    managed({ task: 'barrierWhileBusy', args: [join(folder, 'taken')] }, async (next) => {
      assert.ok((await next()).started);
      assert.equal((await next()).told, 'BARRIER=1');
      writeFileSync(join(folder, 'taken'), '');
      assert.deepEqual(await report(next), { barrier: true });
      await endsWell(next);
    }),
  ));

for (const [task, title] of [
  ['late', 'does not reach'],
  ['lateToTell', 'has no room for'],
] as const)
  test(`a barrier that a manager ${title} rejects with a timeout`, async () => {
    await managed({ task, deaf: true }, async (next) => {
      assert.ok((await next()).started);
      assert.deepEqual(await next(), { code: 'ERR_FDPASSER_TIMEOUT' });
      await endsWell(next);
    });
  });

test('a watched service ends although its manager has no room for its messages', async () => {
  await managed({ task: 'watchedAndFull', env: { WATCHDOG_USEC: '20000' }, deaf: true }, async (next) => {
    assert.ok((await next()).started);
    await endsWell(next);
  });
});

test('a descriptor that is closed right after store() was called is stored', async () => {
  await managed({ task: 'storesAndCloses' }, async (next) => {
    assert.ok((await next()).started);
    const stored = [await next(), await next()].flatMap(({ files }) => files);
    const { files } = await report<{ files: string[] }>(next);
    assert.deepEqual(stored, files);
    await endsWell(next);
  });
});

test('a watched service reports that it is well until the watchdog is disposed', async () => {
  const env = { WATCHDOG_USEC: '20000', WATCHDOG_PID: '{pid}' };
  await managed({ task: 'watched', env }, async (next) => {
    const { started } = await next();
    for (let i = 0; i < 3; i++) assert.equal((await next()).told, 'WATCHDOG=1');
    process.kill(started!, 'SIGUSR1');
    assert.equal(await report(next), 'disposed');
    assert.equal((await next()).told, 'X_REPORT="over"');
    await endsWell(next);
  });
});

test('without a manager nothing is sent, and there is no error', async () => {
  assert.equal(process.env['NOTIFY_SOCKET'], undefined);
  assert.equal(await notify({ READY: 1 }), false);
  assert.equal(await barrier(), false);
  assert.equal(await unstore('web'), false);
  assert.equal(listenFds().size, 0);
  watchdog()[Symbol.dispose]();
  const file = anonymousFile();
  assert.equal(await store('web', file), false);
  closeAll([file]);
});

test('an invalid assignment, name or address is refused', async () => {
  for (const state of [{}, { 'A B': 1 }, { STATUS: 'two\nlines' }, { READY: true }, null, 'READY=1'])
    await assert.rejects(async () => notify(state as never), { code: /^ERR_INVALID_ARG_(TYPE|VALUE)$/ });
  for (const name of ['', 'a:b', 'a\nb', 'x'.repeat(256), 1])
    await assert.rejects(store(name as never, []), { code: /^ERR_INVALID_ARG_(TYPE|VALUE)$/ });
  for (const address of ['notify', '@', 'vsock:2:1234']) {
    process.env['NOTIFY_SOCKET'] = address;
    await assert.rejects(notify({ READY: 1 }), { code: 'ERR_FDPASSER_ENVIRONMENT' });
  }
  delete process.env['NOTIFY_SOCKET'];
});

const KILLS = amount(5, 2);

/** Kills the service so often while a client keeps connecting. Returns how many connections were refused. */
async function refusedWhileKilled(keep: 'keep' | 'forget'): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  let refused = 0;
  await managed({ task: 'serves', args: [String(port), keep], starts: KILLS + 1 }, async (next) => {
    const until = async (told: string): Promise<void> => {
      for (;;) if ((await next()).told === told) return;
    };
    const pids = new Set<string>();
    await until('READY=1');
    for (let kill = 0; kill < KILLS; kill++) {
      const before = await ask(port);
      pids.add(before!);
      process.kill(Number(before), 'SIGKILL');
      const ready = until('READY=1').then(() => true);
      for (let over = false; !over; over = await Promise.race([ready, Promise.resolve(false)])) {
        if ((await ask(port)) === undefined) refused++;
      }
    }
    assert.equal(pids.size, KILLS);
    process.kill(Number(await ask(port)), 'SIGKILL');
  });
  return refused;
}

/**
 * The pid that answers; `undefined` when the connection is refused. If the process dies with the connection, it asks
 * again.
 */
function ask(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    let refused = false;
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => (refused = error.code === 'ECONNREFUSED'));
    socket.on('close', () => resolve(refused ? undefined : text === '' ? ask(port) : text));
  });
}

test('a service with its socket in the store refuses no connection when it is killed again and again', async () => {
  assert.equal(await refusedWhileKilled('keep'), 0);
});

testInFull('the same service without the store refuses connections', async () => {
  assert.ok((await refusedWhileKilled('forget')) > 0);
});
