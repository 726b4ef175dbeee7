import assert from 'node:assert/strict';
import { until } from '../support/descriptors.js';
import { Echoed, settledOn } from '../support/echoed.js';
import { onSite, type ServerChild, type ServerConfig, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';

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

test('WebSockets that come to a process which hands over already go on to the next, and no client reconnects', () =>
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
  }));
