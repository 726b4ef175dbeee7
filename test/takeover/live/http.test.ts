import assert from 'node:assert/strict';
import { HttpLoad, withTwo } from '../../support/live.js';
import { until } from '../../support/descriptors.js';
import { test } from '../../support/test.js';

const CLIENTS = 32;

test('keep-alive connections move between two processes under load, and no client notices', async () => {
  await withTwo('takeover/live-server', async (one, other) => {
    const load = new HttpLoad(await one.port, CLIENTS);
    await until(() => load.answers > 500);
    for (const [from, to] of [
      [one, other],
      [other, one],
      [one, other],
    ] as const) {
      assert.equal(await from.leave(), CLIENTS);
      const before = load.by.get(to.pid) ?? 0;
      await until(() => (load.by.get(to.pid) ?? 0) > before + 200);
      assert.equal(await to.connections(), CLIENTS);
      assert.equal(await from.connections(), 0);
    }
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.equal(load.connections, CLIENTS);
    await Promise.all([one.close(), other.close()]);
  });
});
