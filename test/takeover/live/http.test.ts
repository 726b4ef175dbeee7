import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { HttpLoad, whileStopped, withTwo, type LiveProcess } from '../../support/live.js';
import { until } from '../../support/descriptors.js';
import { partly, test, testInFull } from '../../support/test.js';

const CLIENTS = 32;

/** Two processes, of which the first has so many keep-alive connections with requests on them. */
async function underLoad(body: (one: LiveProcess, other: LiveProcess, load: HttpLoad) => Promise<void>): Promise<void> {
  await withTwo('takeover/live-server', async (one, other) => {
    const load = new HttpLoad(await one.port, CLIENTS);
    await until(() => load.answers > 500);
    await body(one, other, load);
    await load.stop();
  });
}

/** Waits until a process has answered so many requests more. */
async function answersMore(load: HttpLoad, { pid }: LiveProcess): Promise<void> {
  const before = load.by.get(pid) ?? 0;
  await until(() => (load.by.get(pid) ?? 0) > before + 200);
}

test('keep-alive connections move between two processes under load, and no client notices', () =>
  underLoad(async (one, other, load) => {
    for (const [from, to] of [
      [one, other],
      [other, one],
      [one, other],
    ] as const) {
      assert.equal(await from.leave(), CLIENTS);
      await answersMore(load, to);
      await to.has(CLIENTS);
      await from.has(0);
    }
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.equal(load.connections, CLIENTS);
    await Promise.all([one.close(), other.close()]);
  }));

test('keep-alive connections on their way to a process that dies go on where they were, and no client notices', () =>
  underLoad(async (one, other, load) => {
    let leaving: Promise<number>;
    await whileStopped(other, async () => {
      leaving = one.leave();
      await one.says('departed');
      other.child.kill('SIGKILL');
    });
    assert.equal(await leaving!, 0);
    await answersMore(load, one);
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.equal(load.connections, CLIENTS);
    await one.close();
  }));

testInFull('keep-alive connections on their way from a process that dies go on in the other', () =>
  underLoad(async (one, other, load) => {
    await whileStopped(other, async () => {
      one.child.send('leave');
      await one.says('departed');
      for (let turn = 0; turn < 2; turn++) await one.connections(); // what it had to send is in the kernel
      one.child.kill('SIGKILL');
      await one.ended;
    });
    await answersMore(load, other);
    const moved = await other.connections();
    assert.ok(moved >= 1);
    assert.equal(load.errors.length, CLIENTS - moved);
    await load.stop();
    await other.close();
  }),
);

for (const stopped of ['old', 'new'] as const)
  partly(stopped === 'new')(
    `keep-alive connections that move while the ${stopped} process is stopped and woken belong to one process each`,
    () =>
      underLoad(async (one, other, load) => {
        const leaving = one.leave();
        await one.says('departed', 3);
        await whileStopped(stopped === 'old' ? one : other, async () => {
          const before = load.answers;
          // The other answers what it has; of the new one that may be nothing.
          if (stopped === 'new') await until(() => load.answers > before + 20);
        });
        assert.equal(await leaving, CLIENTS);
        await answersMore(load, other);
        await load.stop();
        assert.deepEqual(load.errors, []);
        assert.equal(load.connections, CLIENTS);
        await Promise.all([one.close(), other.close()]);
      }),
  );

testInFull('all keep-alive connections of a process that ends are broken, where none moves', () =>
  underLoad(async (one, other, load) => {
    one.child.kill('SIGKILL');
    await until(() => load.errors.length === CLIENTS);
    await other.close();
  }),
);

/** A client of which one request is answered. */
async function answered(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.write('GET /first HTTP/1.1\r\nHost: here\r\n\r\n');
  await once(socket, 'data');
  return socket;
}

test('close() of a server counts the connections that have come: idle ones end, and it waits for the others', () =>
  withTwo('takeover/live-server', async (one, other) => {
    const port = await one.port;
    const idle = await answered(port);
    const busy = await answered(port);
    assert.equal(await one.leave(), 2);
    await other.has(2);
    let text = '';
    busy.on('data', (bytes) => (text += String(bytes)));
    busy.write('POST /told HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n1');
    await other.says('requested');
    const ended = once(idle.resume(), 'end');
    await other.closeNaively();
    await ended;
    assert.equal(await other.connections(), 1);
    busy.write('2');
    await until(() => text.endsWith('/told 2'));
    assert.ok(!other.said.some((each) => 'gone' in each));
    busy.destroy();
    await other.says('gone');
    idle.destroy();
    await Promise.all([one.close(), other.close()]);
  }));
