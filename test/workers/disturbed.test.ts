/** Reloads during which something else happens. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { supervise, type WorkerState } from 'fdpasser/workers';
import { WebSocket } from 'ws';
import { amount, PATIENCE } from '../support/amount.js';
import { block } from '../support/block.js';
import { freePort } from '../support/connection.js';
import { Crowd } from '../support/crowd.js';
import { inFolder, until } from '../support/descriptors.js';
import { childFile, SupervisorProcess, unmodified } from '../support/supervising.js';
import { Load } from '../support/takeover.js';
import { partly, test } from '../support/test.js';

const HOST = '127.0.0.1';

test('scale during a reload adds and removes workers, and the reload replaces those that stay', async () => {
  const port = await freePort();
  await using supervisor = new SupervisorProcess({
    file: childFile('workers/serve'),
    options: { count: 3 },
    listen: { port, host: HOST },
  });
  const pids = async (): Promise<number[]> => (await supervisor.command<WorkerState[]>('list')).map(({ pid }) => pid!);
  const starts = async (slot: number, times: number): Promise<void> => {
    const started = ({ worker }: { worker?: WorkerState }): boolean =>
      worker!.slot === slot && worker!.state === 'starting';
    await until(() => supervisor.events('worker').filter(started).length === times);
  };
  await supervisor.ready(3);
  const load = new Load({ port });
  try {
    const before = await pids();
    const grown = supervisor.command('reload');
    await starts(0, 2);
    await supervisor.command({ scale: 4 });
    await grown;
    await supervisor.ready(7);
    const after = await pids();
    assert.equal(after.length, 4);
    assert.ok(!after.some((pid) => before.includes(pid)));
    // The one that is just being replaced goes, too.
    const shrunk = supervisor.command('reload');
    await starts(1, 3);
    await supervisor.command({ scale: 1 });
    await shrunk;
    const [left, ...others] = await pids();
    assert.deepEqual(others, []);
    assert.ok(!after.includes(left!));
    await load.answers(5);
  } finally {
    await load.stop();
  }
  assert.deepEqual(load.errors, []);
  const { code, stderr } = await supervisor.close();
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
});

/** Reloads while the supervisor is busy. */
const MOVES = amount(16, 8);

const KEEP_ALIVE = amount(32, 16);
const WEB_SOCKETS = amount(16, 8);

/** What a client may notice when the process that has its connection is killed. */
const CUT = /^(ask: (ECONNRESET|EPIPE)|WebSocket: (ended with 1006|socket hang up))$/;

/** Sends the signal to a worker while its connections move to its successor, which is the first one that is ready. */
async function disturb(whom: 'old' | 'new', signal: NodeJS.Signals): Promise<void> {
  const where = { host: HOST, port: await freePort() };
  const plan = unmodified('express.mjs', where);
  Object.assign(plan.options, { patience: PATIENCE, retire: PATIENCE });
  await using supervisor = new SupervisorProcess(plan);
  await supervisor.ready(2);
  const [first, second] = await supervisor.command<WorkerState[]>('list');
  const crowd = new Crowd({ where, keepAlive: KEEP_ALIVE, webSockets: WEB_SOCKETS });
  try {
    await crowd.begins();
    const disturbed = new Promise<number>((resolve) => {
      supervisor.child.on('message', ({ worker }: { worker?: WorkerState }) => {
        if (worker?.state !== 'ready' || worker.slot !== first!.slot || worker.pid === first!.pid) return;
        const pid = whom === 'old' ? first!.pid! : worker.pid!;
        process.kill(pid, signal);
        resolve(pid);
      });
    });
    const reload = supervisor.command('reload');
    const pid = await disturbed;
    await reload;
    await until(() => supervisor.events('exit').filter(({ worker }) => worker!.pid === pid).length === 1);
    await until(() => supervisor.events('exit').filter(({ worker }) => worker!.pid === second!.pid).length === 1);
    await supervisor.ready(whom === 'old' ? 4 : 5);
    await crowd.goesOn();
  } finally {
    await crowd.stop();
  }
  assert.deepEqual(
    crowd.errors.filter((error) => !CUT.test(error)),
    [],
  );
  const { code, stderr } = await supervisor.close();
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
}

for (const whom of ['old', 'new'] as const)
  for (const [signal, happens] of [
    ['SIGKILL', 'killed'],
    ['SIGSTOP', 'stopped'],
  ] as const)
    partly(whom === 'old' && happens === 'killed')(
      `clients go on when the ${whom} worker is ${happens} while connections move in a reload`,
      () => disturb(whom, signal),
    );

test('all that a worker wrote to a WebSocket that moves comes, though the supervisor is busy', () =>
  inFolder(async (folder) => {
    const told = join(folder, 'told');
    const workers = supervise(childFile('workers/writing'), { count: 1, args: [told], retire: 60_000 });
    const { port } = await workers.listen({ port: 0, host: HOST });
    const counts = new Map<string, number>();
    const client = new WebSocket(`ws://${HOST}:${port}`);
    client.on('message', (message: Buffer) => {
      const pid = message.subarray(0, 20).toString().split(' ')[0]!;
      counts.set(pid, (counts.get(pid) ?? 0) + 1);
    });
    let busy = setImmediate(function again() {
      block(60);
      busy = setImmediate(again);
    });
    for (let moves = 0; moves < MOVES; moves++) {
      await until(() => counts.size === moves + 1);
      await workers.reload();
    }
    await until(() => counts.size === MOVES + 1);
    clearImmediate(busy);
    client.terminate();
    await workers.close();
    const [...all] = readFileSync(told, 'utf8').trim().split('\n');
    const moved = all.map((line) => line.split(' ')).slice(0, MOVES);
    assert.deepEqual(
      moved.map(([pid]) => [pid, `${counts.get(pid!)}`]),
      moved,
    );
  }));
