import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { supervise, type Supervisor } from 'fdpasser/workers';
import { inFolder, until } from '../support/descriptors.js';
import { childFile, SupervisorProcess } from '../support/supervising.js';
import { ask } from '../support/takeover.js';
import { test } from '../support/test.js';

const program = childFile('workers/removes-path');

async function isFound(socketPath: string, workers: Supervisor): Promise<void> {
  await until(() => workers.list.every(({ state }) => state === 'ready'));
  const pids = workers.list.map(({ pid }) => `${pid}`);
  assert.ok(pids.includes(await ask({ socketPath })));
}

test('workers that remove their path before they listen there are found at it', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'socket');
    const workers = supervise(program, { register: true, count: 1, args: [path] });
    await isFound(path, workers);
    workers.scale(2);
    await isFound(path, workers);
    await workers.reload();
    await isFound(path, workers);
    await workers.close();
    assert.ok(!existsSync(path));
  }));

/** Waits until a worker of this supervisor answers. */
async function answers(socketPath: string, supervisor: SupervisorProcess): Promise<void> {
  for (;;) {
    const answer = await ask({ socketPath }).catch(() => undefined); // nobody listens between two processes
    if (supervisor.events('worker').some(({ worker }) => `${worker!.pid}` === answer)) return;
    await sleep(5);
  }
}

for (const [what, dies] of [
  ['a takeover', false],
  ['one that fails', true],
] as const)
  test(`a path that the workers of both supervisors remove is found after ${what}`, () =>
    inFolder(async (folder) => {
      const path = join(folder, 'socket');
      const takeover = { path: join(folder, 'control'), probation: dies ? 60_000 : 100 };
      const plan = { file: program, options: { register: true, count: 2, takeover, args: [path] } };
      await using old = new SupervisorProcess(plan);
      await old.ready(2);
      await using heir = new SupervisorProcess(plan);
      await answers(path, heir);
      if (dies) heir.child.kill('SIGKILL');
      await (dies ? heir : old).end;
      const left = dies ? old : heir;
      await answers(path, left);
      assert.equal((await left.close()).code, 0);
      assert.ok(!existsSync(path));
    }));
