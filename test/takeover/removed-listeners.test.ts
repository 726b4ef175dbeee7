import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { onSite, type ServerChild, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';

const REQUEST = 'GET / HTTP/1.1\r\nHost: here\r\n\r\n';
const UPGRADE = 'GET / HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n';

async function asks(client: Socket, text: string): Promise<string> {
  client.write(text);
  const [answer] = (await once(client, 'data')) as [Buffer];
  return answer.toString();
}

/** The end of a response of a process. */
function endOf({ pid }: ServerChild): RegExp {
  return new RegExp(`\\r\\n\\r\\n${pid}$`);
}

/** Runs `body` with a program that removes the listeners of others, and a client of it. */
async function withClient(
  drainTimeout: number,
  body: (client: Socket, old: ServerChild, start: Site['start']) => Promise<void>,
): Promise<void> {
  await onSite(async ({ port, start }) => {
    const listeners = [{ name: 'web', kind: 'removing' as const, options: { port, host: '127.0.0.1' } }];
    const begin: Site['start'] = () => start({ listeners, options: { probation: 100, drainTimeout } });
    const old = begin();
    await old.tells('serving');
    const client = connect(port, '127.0.0.1');
    try {
      await body(client, old, begin);
      await old.tells('drained');
      assert.equal((await old.end).code, 0);
    } finally {
      client.destroy();
    }
  });
}

test('a program that removes all listeners of its server and connections is waited for until its client has gone', () =>
  withClient(60_000, async (client, old, start) => {
    await asks(client, UPGRADE);
    start();
    await old.tells('handover');
    assert.equal(await asks(client, 'x'), 'x');
    assert.equal(old.told('drained'), undefined);
    client.destroy();
  }));

test('a program that removes all listeners of its connections ends when they are cut after drainTimeout', () =>
  withClient(500, async (client, _, start) => {
    await asks(client, UPGRADE);
    const closed = once(client, 'close');
    start();
    await closed;
  }));

test('a busy connection moves whose program removes the listeners of its request and response', () =>
  withClient(60_000, async (client, old, start) => {
    const held = asks(client, REQUEST.replace('/', '/held'));
    await old.tells('holds');
    const idle = connect(client.remotePort!, '127.0.0.1');
    assert.match(await asks(idle, REQUEST), endOf(old));
    const heir = start();
    while (!endOf(heir).test(await asks(idle, REQUEST))); // the busy one cannot have moved then
    old.command('answer');
    assert.match(await held, endOf(old));
    await old.tells('drained');
    assert.match(await asks(client, REQUEST), endOf(heir));
    idle.destroy();
  }));

for (const kind of ['http', 'udp'] as const)
  test(`a process ends whose program closes its server and removes the listeners of that: ${kind}`, () =>
    onSite(async ({ port, start }) => {
      const listeners = [{ name: 'one', kind, options: { port } }];
      const begun = start({ listeners, removes: true });
      await begun.tells('serving');
      begun.command('close');
      assert.equal((await begun.end).code, 0);
    }));
