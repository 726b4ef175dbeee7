import assert from 'node:assert/strict';
import { until } from '../support/descriptors.js';
import { Echoed, settledOn } from '../support/echoed.js';
import { ask, onSite, type ServerChild, type ServerConfig, type Site } from '../support/takeover.js';
import { testInFull } from '../support/test.js';

const OPTIONS = { probation: 50 };
const CLIENTS = 20;

/** Runs `body` with an old process that has so many WebSockets. */
async function withClients(
  config: Partial<ServerConfig>,
  body: (site: Site, old: ServerChild, clients: Echoed[]) => Promise<void>,
): Promise<void> {
  await onSite(async (site) => {
    const { port } = site;
    const listeners = [{ name: 'web', kind: 'websocket' as const, options: { port, host: '127.0.0.1' } }];
    const start: Site['start'] = (more) => site.start({ listeners, options: OPTIONS, ...more });
    const old = start(config);
    await old.tells('serving');
    const clients = Array.from({ length: CLIENTS }, (_, i) => new Echoed(port, i));
    await until(() => clients.every(({ answers }) => answers > 10));
    await body({ ...site, start }, old, clients);
    for (const client of clients) await client.stop();
    assert.deepEqual(
      clients.flatMap(({ errors }) => errors),
      [],
    );
  });
}

testInFull(
  'WebSockets that come to a process which hands over already go on to the next, and no client reconnects',
  () =>
    withClients({ at: { step: 'after LIVE', signal: 'SIGSTOP' } }, async ({ start }, old, clients) => {
      const heir = start();
      await heir.tells('serving');
      await old.stopsOrEnds();
      const next = start();
      await next.tells('serving');
      await heir.tells('handover');
      old.kill('SIGCONT');
      await settledOn(next.pid, clients);
      for (const { ended } of clients) assert.equal(ended, undefined);
      assert.equal((await old.end).code, 0);
      assert.equal((await heir.end).code, 0);
    }),
);

testInFull('a process whose successor is stopped ends in time, and those on their way go on when it is woken', () =>
  withClients({ options: { ...OPTIONS, drainTimeout: 500 } }, async ({ port, start }, old, clients) => {
    const heir = start({ at: { step: 'at LIVE', signal: 'SIGSTOP' } });
    await heir.stopsOrEnds();
    assert.equal((await old.end).code, 0);
    await until(() => clients.some(({ ended }) => ended !== undefined));
    heir.kill('SIGCONT');
    const moved = clients.filter(({ ended }) => ended === undefined);
    assert.ok(moved.length >= 1);
    await settledOn(heir.pid, moved);
    for (const { ended } of clients) assert.ok(ended === undefined || ended === 1012 || ended === 1006, String(ended));
    assert.equal(await ask({ port }), `${heir.pid}`);
  }),
);
