import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { ask, onSite, type ServerChild, type ServerKind, type Site } from '../support/takeover.js';
import { partly, test } from '../support/test.js';
import { WebSocket } from '../support/ws.js';

type Start = (kind: ServerKind) => ServerChild;

/** Runs `body` with what starts servers of several kinds at one port. */
async function atOnePort(body: (site: Site, start: Start) => Promise<void>): Promise<void> {
  await onSite(async (site) => {
    const options = { port: site.port, host: '127.0.0.1' };
    await body(site, (kind) =>
      site.start({ listeners: [{ name: 'web', kind, options }], options: { probation: 100, drainTimeout: 60_000 } }),
    );
  });
}

for (const kind of ['https', 'http2', 'net'] as const)
  partly(kind === 'http2')(
    `clients of an HTTP server that becomes one of ${kind} are asked to leave in the old process`,
    () =>
      atOnePort(async ({ port }, start) => {
        const old = start('mixed');
        await old.tells('serving');
        const agent = new Agent({ keepAlive: true, maxSockets: 1 });
        const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`);
        const closed = once(webSocket, 'close') as Promise<[code: number]>;
        try {
          assert.equal(await ask({ port }, '/', agent), `${old.pid}`);
          const heir = start(kind);
          await old.tells('handover');
          assert.equal((await closed)[0], 1012);
          assert.equal(await ask({ port }, '/', agent), `${old.pid}`);
          assert.equal((await old.end).code, 0); // that was the last request of the connection
          assert.equal(heir.over, undefined);
        } finally {
          agent.destroy();
        }
      }),
  );

test('what was upgraded to a protocol that the new program does not carry stays', () =>
  atOnePort(async ({ port }, start) => {
    const old = start('mixed');
    await old.tells('serving');
    const client = connect(port, '127.0.0.1');
    client.write('GET / HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: counter\r\n\r\n');
    await once(client, 'data');
    start('http');
    await old.tells('handover');
    client.write('x');
    assert.equal(String((await once(client, 'data'))[0]), `${old.pid} 1`);
    assert.equal(old.told('drained'), undefined);
    client.destroy();
    assert.equal((await old.end).code, 0);
  }));
