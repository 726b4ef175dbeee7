import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { amount } from '../support/amount.js';
import { until } from '../support/descriptors.js';
import { ask, onSite, PAUSE } from '../support/takeover.js';
import { test } from '../support/test.js';

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

test('a client that sends garbage or nothing at the control path is let go, and the service goes on', () =>
  onSite(async ({ control, port, start }) => {
    const old = start({ options: { stepTimeout: 1500, ...OPTIONS } });
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
  }));

test('an old process that is stopped is killed after patience, and no connection is refused', () =>
  onSite(async ({ port, start, load }) => {
    const old = start({ at: { step: 'at READY', signal: 'SIGSTOP' } });
    await old.tells('serving');
    const clients = load();
    const heir = start({ options: { patience: 300, ...OPTIONS } });
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

test('keep-alive connections go through upgrades without an error and without reconnecting', () =>
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
  }));
