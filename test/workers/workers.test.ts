import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { supervise, worker, type SuperviseOptions, type Supervisor } from 'fdpasser/workers';
import { amount, PATIENCE } from '../support/amount.js';
import { block } from '../support/block.js';
import { ended, message, startChild } from '../support/child.js';
import { closeAll, inFolder, openDescriptors, until } from '../support/descriptors.js';
import { fillTable } from '../support/fill-table.js';
import { PAUSE } from '../support/takeover.js';
import { test, testInFull } from '../support/test.js';

const file = (name: string): string => fileURLToPath(new URL(`children/${name}.js`, import.meta.url));

interface Answer {
  pid: number;
  slot: number;
  remoteAddress: string;
  arg?: string;
  env?: string;
}

/** A client that makes one request, over a new connection. */
class Client {
  readonly socket: Socket;
  readonly answer: Promise<Answer>;
  #text = '';
  #error: NodeJS.ErrnoException | undefined;

  constructor(port: number, path = '/') {
    this.socket = connect(port, '127.0.0.1');
    this.answer = new Promise((resolve, reject) => {
      this.socket.setEncoding('utf8').on('data', (text: string) => {
        this.#text += text;
      });
      this.socket.once('close', () => {
        const body = this.#text.split('\r\n\r\n')[1];
        if (body) resolve(JSON.parse(body) as Answer);
        else reject(new Error(`the connection ended without an answer: ${this.#error?.code}, '${this.#text}'`));
      });
    });
    this.answer.catch(() => {});
    this.socket.on('error', (error) => (this.#error = error));
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n`);
  }
}

/** Makes a request over a connection of the agent. Resolves with whether the connection was used before. */
async function askKept(port: number, agent: Agent): Promise<boolean> {
  const request = get({ port, host: '127.0.0.1', agent });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  await once(response.resume(), 'end');
  return request.reusedSocket;
}

const ask = (port: number, path?: string): Promise<Answer> => new Client(port, path).answer;

async function allReady(workers: Supervisor, count: number): Promise<void> {
  await until(() => workers.list.filter(({ state }) => state === 'ready').length === count);
}

/** Runs the body with ready workers behind a port. */
async function supervised(
  options: SuperviseOptions & { name?: string },
  body: (workers: Supervisor, port: number) => Promise<void>,
): Promise<void> {
  const { name = 'serve', ...rest } = options;
  const workers = supervise(file(name), { count: 2, ...rest });
  try {
    const { port } = await workers.listen({ port: 0, host: '127.0.0.1' });
    await allReady(workers, rest.count ?? 2);
    await body(workers, port);
  } finally {
    await workers.close();
  }
}

test('workers answer with the address of the client, their arguments and their environment', async () => {
  await supervised({ count: 1, args: ['an argument'], env: { OWN: 'a value' } }, async (_, port) => {
    const { remoteAddress, arg, env } = await ask(port);
    assert.deepEqual({ remoteAddress, arg, env }, { remoteAddress: '127.0.0.1', arg: 'an argument', env: 'a value' });
  });
});

test("workers get connections in turn with pick: 'turn'", async () => {
  await supervised({ pick: 'turn', count: 3 }, async (_, port) => {
    const slots: number[] = [];
    const inTurn = (): boolean => {
      const [first, second] = [slots.slice(-6, -3), slots.slice(-3)];
      return new Set(first).size === 3 && String(first) === String(second);
    };
    // One that is slow to confirm is passed over once, which is no fault.
    while (slots.length < 6 || (!inTurn() && slots.length < 60)) slots.push((await ask(port)).slot);
    assert.ok(inTurn(), String(slots));
  });
});

test('a connection whose program removes the listeners of its end counts until then', async () => {
  await supervised({ count: 1 }, async (workers, port) => {
    await ask(port, '/removes');
    await until(() => workers.list[0]!.load === 0);
  });
});

test('the worker that says it is least busy gets a connection', async () => {
  await supervised({}, async (workers, port) => {
    const { slot } = await ask(port, '/busy');
    await until(() => workers.list[slot]!.load >= 1000);
    for (let i = 0; i < 5; i++) assert.equal((await ask(port)).slot, 1 - slot);
  });
});

const pathOf = ({ first }: { first?: Buffer }): string => /GET (\S+)/.exec(first!.toString())![1]!;

testInFull(
  'the same string gets the same worker while others come and go, and only the strings of a gone worker move',
  async () => {
    await supervised({ count: 3, pick: pathOf, peek: {} }, async (workers, port) => {
      const paths = Array.from({ length: 30 }, (_, i) => `/${i}`);
      const all = async (): Promise<number[]> => Promise.all(paths.map(async (path) => (await ask(port, path)).slot));
      const before = await all();
      assert.equal(new Set(before).size, 3);
      assert.deepEqual(await all(), before);
      await workers.reload();
      assert.deepEqual(await all(), before);
      workers.scale(2);
      const after = await all();
      assert.deepEqual(
        after.filter((_, i) => before[i] !== 2),
        before.filter((slot) => slot !== 2),
      );
      assert.ok(after.every((slot) => slot < 2));
      workers.scale(3);
      await allReady(workers, 3);
      assert.deepEqual(await all(), before);
    });
  },
);

test('a number gets the worker of that pid, and any other number the least busy one', async () => {
  await supervised(
    { count: 3, pick: ({ first }) => Number(pathOf({ first: first! }).slice(1)), peek: {} },
    async (workers, port) => {
      for (const { pid } of workers.list) assert.equal((await ask(port, `/${pid}`)).pid, pid);
      for (const path of ['/1', '/none']) await ask(port, path);
    },
  );
});

test('a supervisor listens at a path with stream sockets only', async () => {
  await supervised({ count: 1 }, async (workers) => {
    for (const type of ['dgram', 'seqpacket'] as const)
      await assert.rejects(workers.listen('/nowhere/socket', { type }), { code: 'ERR_INVALID_ARG_VALUE' });
  });
});

test('a supervisor that closes hands over what has sent something to be peeked at, and closes the rest', async () => {
  let seen = '';
  const isEnough = (first: Buffer): boolean => {
    seen = first.toString();
    return false;
  };
  const workers = supervise(file('serve'), { count: 1, peek: { until: isEnough, timeout: 60_000 } });
  const { port } = await workers.listen({ port: 0, host: '127.0.0.1' });
  await allReady(workers, 1);
  const silent = connect(port, '127.0.0.1').on('error', () => {});
  await once(silent.resume(), 'connect');
  const silentEnds = once(silent, 'close');
  const { answer } = new Client(port);
  await until(() => seen !== '');
  const closed = workers.close();
  assert.equal((await answer).slot, 0);
  await Promise.all([silentEnds, closed]);
});

test('a connection is handed over when enough bytes were peeked at, or when the time for the peek is over', async () => {
  const seen: string[] = [];
  const pick = ({ first }: { first?: Buffer }): string => {
    seen.push(first!.toString());
    return '';
  };
  const peek = { until: (first: Buffer) => first.includes('\r\n\r\n'), timeout: 300 };
  await supervised({ count: 1, pick, peek }, async (_, port) => {
    const slow = connect(port, '127.0.0.1');
    slow.write('GET / HTTP/1.1\r\n');
    await once(slow, 'connect');
    setImmediate(() => slow.write('Host: here\r\nConnection: close\r\n\r\n'));
    await once(slow.resume(), 'close');
    assert.equal(seen.shift(), 'GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n');
    const silent = connect(port, '127.0.0.1');
    await until(() => seen.length === 1);
    assert.equal(seen.shift(), '');
    silent.destroy();
  });
});

test('an until that throws is reported, and the connection is handed over', async () => {
  const errors: string[] = [];
  const seen: string[] = [];
  const options: SuperviseOptions = {
    count: 1,
    pick: ({ first }) => `${seen.push(first!.toString().slice(0, 3))}`,
    peek: {
      until: () => {
        throw new Error(`no until, ${seen.length}`);
      },
    },
  };
  await supervised(options, async (workers, port) => {
    workers.on('error', ({ message: text }) => errors.push(text));
    await ask(port);
    assert.deepEqual({ errors, seen }, { errors: ['no until, 0'], seen: ['GET'] });
  });
});

test('a pick that throws, or returns neither a string nor a number, is reported and loses no connection', async () => {
  const picks = [
    () => {
      throw new Error('no pick');
    },
    () => true as unknown as string,
  ];
  await supervised({ count: 1, pick: () => picks.shift()!() }, async (workers, port) => {
    const errors: Error[] = [];
    workers.on('error', (error) => errors.push(error));
    await ask(port);
    await ask(port);
    assert.equal(errors[0]!.message, 'no pick');
    assert.equal((errors[1] as NodeJS.ErrnoException).code, 'ERR_INVALID_RETURN_VALUE');
  });
});

test('a worker that dies is replaced, and clients of other workers do not notice', async () => {
  await supervised({}, async (workers, port) => {
    const { pid } = await ask(port);
    const exit = once(workers, 'exit');
    process.kill(pid, 'SIGKILL');
    const [, how] = (await exit) as [unknown, { signal: string }];
    assert.equal(how.signal, 'SIGKILL');
    assert.notEqual((await ask(port)).pid, pid);
    await allReady(workers, 2);
  });
});

testInFull('a reload replaces all workers under load, and no connection is refused', async () => {
  await supervised({}, async (workers, port) => {
    const before = new Set(workers.list.map(({ pid }) => pid));
    const over = new AbortController();
    const answers: Answer[] = [];
    const asking = [1, 2, 3, 4].map(async () => {
      while (!over.signal.aborted) {
        answers.push(await ask(port));
        if (PAUSE > 0) await sleep(PAUSE);
      }
    });
    for (let i = 0; i < amount(2, 1); i++) await workers.reload();
    over.abort();
    await Promise.all(asking);
    assert.ok(answers.length > 0);
    assert.ok(workers.list.every(({ pid }) => !before.has(pid)));
    assert.ok(!before.has((await ask(port)).pid));
  });
});

testInFull('a reload ends kept-alive connections by an answer that says so, and resets no request', async () => {
  await supervised({}, async (workers, port) => {
    const agent = new Agent({ keepAlive: true });
    const over = new AbortController();
    const asking = Array.from({ length: 8 }, async () => {
      let reused = 0;
      while (!over.signal.aborted) {
        reused += Number(await askKept(port, agent));
        if (PAUSE > 0) await sleep(PAUSE);
      }
      return reused;
    });
    for (let i = 0; i < amount(3, 1); i++) await workers.reload();
    over.abort();
    for (const reused of await Promise.all(asking)) assert.ok(reused > 0);
    agent.destroy();
  });
});

test('a live connection waits while its worker retires and no other one is ready', async () => {
  await supervised({ count: 1 }, async (workers, port) => {
    const before = workers.list[0]!.pid;
    const agent = new Agent({ keepAlive: true });
    await askKept(port, agent);
    workers.on('worker', function kill({ pid, state }) {
      if (state !== 'ready') return;
      process.kill(pid!, 'SIGKILL');
      workers.off('worker', kill);
    });
    await workers.reload();
    await until(() => workers.list.some(({ pid, state }) => pid !== before && state === 'ready'));
    assert.equal(await askKept(port, agent), true);
    agent.destroy();
  });
});

for (const when of ['late', 'again'])
  test(`a server that is given to a ready worker${when === 'again' ? ' once more' : ''} may stay, too`, async () => {
    let chosen = 0;
    await supervised({ name: 'staying', count: 1, pick: () => chosen, args: [when] }, async (workers, port) => {
      chosen = workers.list[0]!.pid!;
      await ask(port);
      await workers.reload();
      for (const path of ['/', '/leave']) assert.equal((await ask(port, path)).pid, chosen);
      chosen = workers.list[0]!.pid!;
      await ask(port, '/leave');
    });
  });

testInFull('a worker that stays while it retires waits for the first request of a connection', async () => {
  let chosen = 0;
  await supervised({ name: 'staying', count: 1, pick: () => chosen }, async (workers, port) => {
    chosen = workers.list[0]!.pid!;
    await workers.reload();
    assert.equal((await ask(port)).pid, chosen);
    await sleep(5500); // it closes idle connections now, again and again
    const client = connect(port, '127.0.0.1');
    await sleep(500);
    client.end('GET /leave HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n');
    assert.match((await client.toArray()).join(''), new RegExp(`"pid":${chosen}`));
    chosen = workers.list[0]!.pid!;
    await ask(port, '/leave');
  });
});

test('a reload whose worker does not get ready rejects, and the old worker goes on serving', async () => {
  await inFolder(async (folder) => {
    await supervised({ name: 'fickle', count: 1, args: [`${folder}/started`] }, async (workers, port) => {
      const [before] = workers.list;
      await assert.rejects(workers.reload(), { code: 'ERR_FDPASSER_WORKER', message: /code 4/ });
      assert.deepEqual(workers.list, [before]);
      await ask(port);
    });
  });
});

test('a worker that keeps ending is started after longer waits, and this is reported', async () => {
  const workers = supervise(file('broken'), { count: 1 });
  const errors: Error[] = [];
  workers.on('error', (error) => errors.push(error));
  await until(() => errors.length === 3);
  await workers.close();
  const waits = errors.map(({ message: text }) => Number(/(\d+) ms/.exec(text)![1]));
  assert.deepEqual(waits, [100, 200, 400]);
  assert.match(errors[0]!.message, /^Worker 0 ends again and again, .* it ended with code 3\. .* ready\(\)/);
});

test('the end of a worker that was replaced starts no other one', async () => {
  await supervised({ name: 'staying', count: 1, retire: 60_000 }, async (workers) => {
    const waits: string[] = [];
    workers.on('error', ({ message: text }) => void waits.push(/(\d+) ms/.exec(text)![1]!));
    const old = workers.list[0]!.pid!;
    const end = async (pid: number): Promise<void> => {
      const exit = once(workers, 'exit');
      process.kill(pid, 'SIGKILL');
      await exit;
    };
    await workers.reload();
    for (let i = 0; i < 4; i++) {
      await allReady(workers, 1);
      await end(workers.list[0]!.pid!);
    }
    await end(old); // while the slot waits
    assert.deepEqual(waits, ['100', '200', '400']);
    await allReady(workers, 1);
    await end(workers.list[0]!.pid!);
  });
});

test('a reload that finds no room for a worker rejects, and one is started when there is room', async () => {
  const workers = supervise(file('broken'), { count: 1 });
  const errors: Error[] = [];
  workers.on('error', (error) => errors.push(error));
  await until(() => errors.length === 2); // the next one is started in 200 ms
  const filled = fillTable();
  try {
    await assert.rejects(workers.reload(), { code: 'EMFILE' });
  } finally {
    closeAll(filled);
  }
  await once(workers, 'exit');
  await workers.close();
});

test('a worker that is never ready is killed after its patience', async () => {
  const workers = supervise(file('never'), { count: 1, patience: 500 });
  const reported = once(workers, 'error');
  const [, exit] = (await once(workers, 'exit')) as [unknown, { signal: string }];
  assert.equal(exit.signal, 'SIGKILL');
  const [error] = (await reported) as [Error];
  assert.match(error.message, /^Worker 0 was not ready within 500 ms \(patience\), and was killed\. .*register: true/);
  await workers.close();
});

testInFull(
  'a worker that took a connection in time is not killed by a supervisor whose event loop stood still',
  async () => {
    let blocked = false;
    const pick = (): string => {
      if (!blocked) setImmediate(block, 9000); // when the connection is sent
      blocked = true;
      return 'any';
    };
    await supervised({ count: 1, patience: 8000, pick }, async (workers, port) => {
      const exits: unknown[] = [];
      workers.on('exit', (...exit) => void exits.push(exit));
      const { pid } = await ask(port);
      assert.ok(blocked);
      assert.equal((await ask(port)).pid, pid);
      assert.deepEqual(exits, []);
    });
  },
);

test('supervise refuses a file that does not exist, and invalid options', () => {
  assert.throws(() => supervise('no/such/file.js'), { code: 'ENOENT' });
  assert.throws(() => supervise(file('serve'), { count: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  assert.throws(() => supervise(file('serve'), { pick: 'best' as 'busy' }), { code: 'ERR_INVALID_ARG_VALUE' });
  assert.throws(() => supervise(file('serve'), { patience: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  assert.throws(() => worker(), { code: 'ERR_FDPASSER_WORKER' });
  const wrong: [Record<string, unknown>, string][] = [
    [{ takeover: null }, 'TYPE'],
    [{ takeover: {} }, 'TYPE'],
    [{ takeover: '' }, 'VALUE'],
    [{ args: [1] }, 'TYPE'],
    [{ args: ['a\0b'] }, 'VALUE'],
    [{ env: ['A=1'] }, 'TYPE'],
    [{ env: { A: 1 } }, 'TYPE'],
    [{ env: { A: 'a\0b' } }, 'VALUE'],
  ];
  for (const [options, kind] of wrong)
    assert.throws(() => supervise(file('serve'), options), { code: `ERR_INVALID_ARG_${kind}` });
});

for (const flags of [
  ['--input-type=module', '-e'],
  ['--no-warnings', '-p'],
])
  test(`a supervisor in a program of the command line (${flags.at(-1)}) does not run that program as its worker`, async () => {
    const program = `
      if (process.env.AGAIN !== undefined) process.exit(9);
      import('fdpasser/workers').then(async ({ supervise }) => {
        const workers = supervise(${JSON.stringify(file('serve'))}, { count: 1, env: { AGAIN: '' } });
        workers.on('exit', (_, { code }) => console.log('ended with', code));
        workers.on('worker', ({ state }) => state === 'ready' && workers.close());
        workers.on('error', () => workers.close());
      });`;
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, program]);
    assert.deepEqual(stdout.match(/^ended.*$/gm), ['ended with 0']); // -p prints its promise too
  });

test('workers serve a Unix path as they do a port', async () => {
  await inFolder(async (folder) => {
    const workers = supervise(file('serve'), { count: 1 });
    const path = await workers.listen(`${folder}/socket`);
    const socket = connect(path);
    socket.end('GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n');
    assert.match((await socket.toArray()).join(''), /"slot":0/);
    await workers.close();
  });
});

for (const [by, key] of [
  ['a string', () => 'any'],
  ['its pid', (pid: number) => pid],
] as const)
  test(`connections that are picked for a stopped worker by ${by} wait for it, and past 64 go to others`, async () => {
    let chosen = 0;
    await supervised({ patience: 60_000, pick: () => key(chosen) }, async (workers, port) => {
      const { pid } = await ask(port);
      chosen = pid;
      process.kill(pid, 'SIGSTOP');
      const pids: number[] = [];
      const clients = Array.from({ length: 100 }, async () => void pids.push((await ask(port)).pid));
      await until(() => pids.length === 36);
      assert.ok(pids.every((other) => other !== pid));
      process.kill(pid, 'SIGCONT');
      await Promise.all(clients);
      assert.equal(pids.filter((each) => each === pid).length, 64);
      await until(() => workers.list.every(({ load }) => load === 0)); // they have been confirmed
      assert.equal((await ask(port)).pid, pid);
      assert.equal(workers.list.length, 2);
    });
  });

test('workers end when their supervisor is killed', async () => {
  const child = startChild('workers/supervisor');
  const end = ended(child);
  const { port, pids } = await message<{ port: number; pids: number[] }>(child);
  await ask(port);
  child.kill('SIGKILL');
  await end; // the workers' copies of its standard output
  await until(() => pids.every((pid) => !isRunning(pid)));
});

testInFull(
  'connections wait in the backlog while all workers are stopped, and are served when these are killed',
  async () => {
    await supervised({ patience: PATIENCE }, async (workers, port) => {
      const before = openDescriptors().size;
      for (const { pid } of workers.list) process.kill(pid!, 'SIGSTOP');
      const clients = Array.from({ length: amount(300, 200) }, () => new Client(port));
      await Promise.all(clients.map(({ socket }) => once(socket, 'connect')));
      await until(() => openDescriptors().size > before + clients.length);
      assert.ok(openDescriptors().size <= before + clients.length + 2 * 64 + 8);
      await Promise.all(clients.map(({ answer }) => answer));
    });
  },
);

test('a worker without a free slot is not killed, and takes connections when it has slots again', async () => {
  const patience = amount(8000, 2000); // a busy machine starts it in some seconds
  await supervised({ count: 1, patience }, async (workers, port) => {
    const exits: unknown[] = [];
    workers.on('exit', (...exit) => void exits.push(exit));
    const { pid } = await ask(port, '/fill');
    // The first one may have the slot of the connection that has just ended.
    const waiting = Array.from({ length: 8 }, () => ask(port));
    await sleep(patience + 2000);
    assert.deepEqual(exits, []);
    process.kill(pid, 'SIGUSR2');
    for (const answer of await Promise.all(waiting)) assert.equal(answer.pid, pid);
  });
});

test('a supervisor whose worker has no free slot closes after the time that a worker has to retire', async () => {
  const workers = supervise(file('serve'), { count: 1, retire: 500 });
  const { port } = await workers.listen({ port: 0, host: '127.0.0.1' });
  await allReady(workers, 1);
  await ask(port, '/fill');
  const clients = Array.from({ length: 4 }, () => new Client(port));
  await until(() => workers.list[0]!.load >= 3); // the first one may have the slot of the connection that has ended
  await workers.close();
  const ends = await Promise.allSettled(clients.map(({ answer }) => answer));
  assert.ok(ends.filter(({ status }) => status === 'rejected').length >= 3);
});

/** A dead process that its parent has not waited for is not running. */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

const CLIENTS = 40;

/**
 * Stops one worker and kills another while `clients` clients make requests. Returns how many were answered, and the
 * rest.
 */
async function strand(port: number, [stopped, killed]: number[]): Promise<Client[]> {
  process.kill(stopped!, 'SIGSTOP');
  const clients = Array.from({ length: CLIENTS }, () => new Client(port));
  process.kill(killed!, 'SIGKILL');
  return clients;
}

test('no client is lost when one worker is stopped and another killed while 40 clients connect', async () => {
  await supervised({ count: 3, patience: PATIENCE, pick: 'turn' }, async (workers, port) => {
    const clients = await strand(
      port,
      workers.list.map(({ pid }) => pid!),
    );
    const answers = await Promise.all(clients.map(({ answer }) => answer));
    assert.equal(answers.length, CLIENTS);
  });
});

test("node's cluster, the control, leaves clients of a stopped worker without an answer", async () => {
  const child = startChild('workers/cluster');
  const end = ended(child);
  const { port, pids } = await message<{ port: number; pids: number[] }>(child);
  const clients = await strand(port, pids);
  const answered = await Promise.all(
    clients.map(({ answer }) =>
      Promise.race([
        answer.then(
          () => true,
          () => false,
        ),
        later(3000),
      ]),
    ),
  );
  process.kill(pids[0]!, 'SIGCONT');
  for (const { socket } of clients) socket.destroy();
  child.send('end');
  await end;
  assert.ok(answered.filter(Boolean).length < CLIENTS);
});

/** Longer than fdpasser needs for the same. */
async function later(milliseconds: number): Promise<false> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  return false;
}
