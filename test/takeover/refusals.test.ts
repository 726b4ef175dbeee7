import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { amount } from '../support/amount.js';
import { until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { ask, onSite, PAUSE, type ServerConfig } from '../support/takeover.js';
import { test, testInFull } from '../support/test.js';

const OPTIONS = { probation: 100 };

const MANY = amount(20, 6);

test('of many processes that take over at once one succeeds, and the others are told its pid', () =>
  onSite(async ({ port, start, load }) => {
    const old = start({ options: OPTIONS });
    await old.tells('serving');
    const clients = load();
    const all = Array.from({ length: MANY }, () => start({ options: { probation: 60_000 } }));
    await until(() => all.every((one) => one.told('serving') ?? one.told('failed')));
    const heirs = all.filter((one) => one.told('serving'));
    assert.equal(heirs.length, 1);
    for (const one of all.filter((other) => other !== heirs[0]))
      assert.deepEqual([one.told('failed')!.code, one.told('failed')!.pid], ['ERR_FDPASSER_BUSY', heirs[0]!.pid]);
    heirs[0]!.command('confirm');
    await old.tells('drained');
    assert.equal(await ask({ port }), `${heirs[0]!.pid}`);
    await clients.stop();
    assert.deepEqual(clients.errors, []);
  }));

test('a version that breaks before it is ready changes nothing', () =>
  onSite(async ({ port, start, load }) => {
    const old = start({ options: OPTIONS });
    await old.tells('serving');
    const clients = load();
    for (let attempt = 0; attempt < amount(3, 1); attempt++) assert.equal((await start({ breaks: true }).end).code, 1);
    assert.equal(await ask({ port }), `${old.pid}`);
    const heir = start({ options: OPTIONS });
    await heir.tells('serving');
    await old.tells('drained');
    await clients.stop();
    assert.deepEqual(clients.errors, []);
  }));

/** Of a process, and the limit below which so many numbers are free. */
function descriptorsOf(pid: number, free: number): { count: number; limit: number } {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let limit = 0;
  for (let left = free; left > 0; limit++) if (!open.has(limit)) left--;
  return { count: open.size, limit };
}

test('an old process without descriptors to hand over says so, has as many as before, and hands over later', () =>
  onSite(async ({ folder, port, start }) => {
    needs('prlimit');
    const paths = ['a', 'b', 'c', 'd'].map((name) => join(folder, name));
    const listeners: ServerConfig['listeners'] = paths.map((path) => ({ name: path, kind: 'http', options: { path } }));
    listeners.push({ name: 'web', kind: 'http', options: { port, host: '127.0.0.1' } });
    const old = start({ options: OPTIONS, listeners });
    await old.tells('serving');
    const numbers = (limit: number): unknown => execFileSync('prlimit', [`--pid=${old.pid}`, `--nofile=${limit}:`]);
    const { count, limit } = descriptorsOf(old.pid, 3); // that of the conversation, and two for listeners
    numbers(limit);
    const { code, step, message } = await start({ options: OPTIONS, listeners }).tells('failed');
    assert.deepEqual([code, step], ['ERR_FDPASSER_ROLLED_BACK', 'MANIFEST']);
    assert.match(message!, /EMFILE/);
    assert.equal(await old.tells('rollback').then(({ message: why }) => why?.includes('EMFILE')), true);
    // V8 collects garbage when a process has been idle for 8 s, and that would close what was forgotten.
    await until(() => descriptorsOf(old.pid, 3).count <= count, 5000);
    numbers(1000);
    const heir = start({ options: OPTIONS, listeners });
    await heir.tells('serving');
    await old.tells('drained');
    assert.equal(await ask({ port }), `${heir.pid}`);
  }));

test('a new process that aborts in its probation answers what it has accepted, and the old one serves again', () =>
  onSite(async ({ port, start, load }) => {
    const old = start();
    await old.tells('serving');
    const clients = load();
    const heir = start({ options: { probation: 60_000 } });
    await heir.tells('serving');
    await clients.answers(5);
    const slow = ask({ port }, '/?wait=300');
    assert.equal(await ask({ port }), `${heir.pid}`);
    heir.command('abort');
    assert.match((await old.tells('rollback')).message!, /abort\(\) was called/);
    assert.equal(await slow, `${heir.pid}`);
    assert.equal((await heir.end).code, 1);
    assert.equal(await ask({ port }), `${old.pid}`);
    await clients.stop();
    assert.deepEqual(clients.errors, []);
  }));

testInFull('a client that sends garbage or nothing at the control path is let go, and the service goes on', () =>
  onSite(async ({ control, port, start }) => {
    const old = start({ options: { stepTimeout: 4000, ...OPTIONS } });
    await old.tells('serving');
    const peers = Array.from({ length: 70 }, () => net.connect(control));
    const ends = peers.map(
      (peer) =>
        new Promise((resolve) =>
          peer
            .on('error', () => {})
            .resume()
            .on('close', resolve),
        ),
    );
    peers[0]!.write('GET / HTTP/1.1\r\n\r\n');
    peers[1]!.write(Buffer.alloc(100_000, 'FDP1'));
    await Promise.all(ends);
    assert.equal(await ask({ port }), `${old.pid}`);
    const heir = start({ options: OPTIONS });
    await heir.tells('serving');
    assert.equal((await old.end).code, 0);
  }),
);

test('a new process that closes its server in its probation, while it has a client, is taken back', () =>
  onSite(async ({ port, start }) => {
    const old = start({ options: OPTIONS });
    await old.tells('serving');
    const heir = start({ options: { probation: 1000 } });
    await heir.tells('serving');
    const client = net.connect(port, '127.0.0.1'); // so that the server does not emit 'close'
    client.write('GET / HTTP/1.1\r\n');
    assert.equal(await ask({ port }), `${heir.pid}`); // it has been accepted
    heir.command('close');
    await old.tells('rollback');
    assert.equal(await ask({ port }), `${old.pid}`);
    client.write('Host: here\r\nConnection: close\r\n\r\n');
    assert.match((await client.toArray()).join(''), / 200 OK\r\n/);
    assert.equal((await heir.end).code, 0);
  }));

test('a new process that closes its server in its probation leaves its path to the old one', () =>
  onSite(async ({ folder, start }) => {
    const path = join(folder, 'web');
    const listeners: ServerConfig['listeners'] = [{ name: 'web', kind: 'http', options: { path } }];
    const old = start({ options: OPTIONS, listeners });
    await old.tells('serving');
    const heir = start({ options: { probation: 60_000 }, listeners });
    await heir.tells('serving');
    heir.command('close');
    await old.tells('rollback');
    assert.equal(await ask({ socketPath: path }), `${old.pid}`);
    assert.equal((await heir.end).code, 0);
    old.command('close');
    assert.equal((await old.end).code, 0);
    assert.ok(!existsSync(path));
  }));

test('a server that is closed in the probation of a successor that dies refuses its clients, and keeps none waiting', () =>
  onSite(async ({ port, start }) => {
    const old = start({ options: OPTIONS, closesAt: 'at SERVING' });
    await old.tells('serving');
    const client = net.connect(port, '127.0.0.1'); // so that the server does not emit 'close'
    client.write('GET / HTTP/1.1\r\n');
    await ask({ port }); // it has been accepted
    const heir = start({ options: OPTIONS, at: { step: 'before CONFIRM', signal: 'SIGKILL' } });
    await heir.end;
    await old.tells('rollback');
    await assert.rejects(ask({ port }), { code: 'ECONNREFUSED' });
    client.write('Host: here\r\nConnection: close\r\n\r\n');
    assert.match((await client.toArray()).join(''), / 200 OK\r\n/);
    assert.equal((await old.end).code, 0);
  }));

test('an old process that is stopped is killed after patience, and no connection is refused', () =>
  onSite(async ({ port, start, load }) => {
    const old = start({ at: { step: 'at READY', signal: 'SIGSTOP' } });
    await old.tells('serving');
    const clients = load();
    const heir = start({ options: { patience: 1500, ...OPTIONS } });
    await heir.tells('serving');
    assert.equal((await old.end).signal, 'SIGKILL');
    await clients.answers(5);
    assert.equal(await ask({ port }), `${heir.pid}`);
    await clients.stop();
    assert.ok(clients.errors.length <= 1, String(clients.errors)); // what the old one had accepted
  }));

test('a file that is not a socket at the control path stays there, and is reported', () =>
  onSite(async ({ control, start }) => {
    writeFileSync(control, 'mine');
    const server = start({ options: { stepTimeout: 100 } });
    assert.equal((await server.tells('failed')).code, 'EADDRINUSE');
  }));

testInFull('keep-alive connections go through upgrades without an error and without reconnecting', () =>
  onSite(async ({ port, start }) => {
    let serving = start({ options: OPTIONS });
    await serving.tells('serving');
    const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
    const sockets = new Set<net.Socket>();
    agent.on('free', (socket: net.Socket) => sockets.add(socket));
    const errors: unknown[] = [];
    const stopped = new AbortController();
    const loops = Array.from({ length: 16 }, async () => {
      while (!stopped.signal.aborted) {
        await ask({ port }, '/', agent).catch((error: unknown) => errors.push(error));
        if (PAUSE > 0) await sleep(PAUSE);
      }
    });
    try {
      await until(() => sockets.size === 16);
      for (let upgrade = 0; upgrade < amount(5, 2); upgrade++) {
        const next = start({ options: OPTIONS });
        await next.tells('serving');
        await serving.tells('drained');
        serving = next;
      }
    } finally {
      stopped.abort();
      await Promise.all(loops);
      agent.destroy();
    }
    assert.deepEqual(errors, []);
    assert.equal(sockets.size, 16);
  }),
);
