/** What the guarantees are worth: how it goes without them. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { socketpair } from 'fdpasser';
import { startChild } from '../support/child.js';
import { inFolder, until } from '../support/descriptors.js';
import { ask, onSite, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';

/** Runs `body` with a server under load, and another that gets its listener. */
async function handedOver(body: (site: Site, old: ChildProcess, heir: ChildProcess) => Promise<void>): Promise<void> {
  await onSite(async (site) => {
    const [a, b] = socketpair();
    const old = startChild('takeover/naive', { args: [String(site.port)], peer: a });
    const heir = startChild('takeover/naive', { args: [''], peer: b });
    a.close();
    b.close();
    const ends = [old, heir].map((child) => once(child, 'close'));
    try {
      await once(old, 'message');
      const listens = once(heir, 'message');
      old.send('hand over');
      await listens;
      await body(site, old, heir);
    } finally {
      for (const child of [old, heir]) child.kill('SIGKILL');
      await Promise.all(ends);
    }
  });
}

test('a naive old process and its successor both serve', () =>
  handedOver(async ({ load }, old, heir) => {
    const clients = load();
    await until(() => clients.pids.size === 2);
    assert.deepEqual([...clients.pids].toSorted(), [`${old.pid}`, `${heir.pid}`].toSorted());
    await clients.stop();
  }));

test('when a naive successor dies nobody comes back, and connections are refused', () =>
  handedOver(async ({ port, load }, old, heir) => {
    old.send('close');
    await once(old, 'exit');
    assert.equal(await ask({ port }), `${heir.pid}`);
    const clients = load();
    await clients.answers(5);
    heir.kill('SIGKILL');
    await until(() => clients.errors.some(({ code }) => code === 'ECONNREFUSED'));
    await clients.stop();
  }));

test('of naive processes that take a path at once each believes that it serves there', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'path');
    const all = Array.from({ length: 4 }, () => startChild('takeover/naive', { args: [path] }));
    const ends = all.map((child) => once(child, 'close'));
    await Promise.all(all.map((child) => once(child, 'message')));
    const [first, second] = [await ask({ socketPath: path }), await ask({ socketPath: path })];
    assert.equal(first, second); // the others are never asked
    for (const child of all) child.kill('SIGKILL');
    await Promise.all(ends);
  }));
