import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { onSite, type ServerChild, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';
import { WebSocket } from '../support/ws.js';

const OPTIONS = { probation: 100 };

/** A client of a server that counts the lines of each connection. */
class Client {
  readonly socket: net.Socket;

  constructor(port: number) {
    this.socket = net.connect(port, '127.0.0.1');
  }

  async asks(text: string): Promise<string> {
    this.socket.write(text);
    const [answer] = (await once(this.socket, 'data')) as [Buffer];
    return answer.toString();
  }

  /** The pid of the process that answers over HTTP. */
  async requests(path = '/'): Promise<number> {
    const response = await this.asks(`GET ${path} HTTP/1.1\r\nHost: here\r\n\r\n`);
    return Number(response.split('\r\n\r\n')[1]);
  }

  /** The pid of the process that answers, and its count. */
  async says(text: string): Promise<[pid: number, count: number]> {
    const [pid, count] = (await this.asks(text)).split(' ').map(Number);
    return [pid!, count!];
  }
}

async function withClients(body: (site: Site, clients: Client[]) => Promise<void>): Promise<void> {
  await onSite(async (site) => {
    const clients: Client[] = [];
    const listeners = [{ name: 'counter', kind: 'counter' as const, options: { port: site.port, host: '127.0.0.1' } }];
    const start: Site['start'] = (config) => site.start({ listeners, options: OPTIONS, ...config });
    try {
      await body({ ...site, start }, clients);
    } finally {
      for (const { socket } of clients) socket.destroy();
    }
  });
}

test("connections of a program's own protocol go on in the successor with their state", () =>
  withClients(async ({ port, start }, clients) => {
    let old = start();
    await old.tells('serving');
    for (let i = 0; i < 20; i++) clients.push(new Client(port));
    for (const client of clients) assert.deepEqual(await client.says('x'), [old.pid, 1]);
    for (let upgrade = 1; upgrade <= 2; upgrade++) {
      const heir = start();
      await heir.tells('serving');
      assert.equal((await old.end).code, 0);
      for (const client of clients) assert.deepEqual(await client.says('x'), [heir.pid, upgrade + 1]);
      old = heir;
    }
  }));

test('connections whose state is too large to be sent stay, and all others move, also those sent with them', () =>
  withClients(async ({ port, start }, clients) => {
    const old = start();
    await old.tells('serving');
    for (let i = 0; i < 100; i++) clients.push(new Client(port));
    const big = [clients[0]!, clients[70]!]; // the second when several are sent in one message
    for (const client of clients) await client.says(big.includes(client) ? 'big' : 'x');
    const heir = start();
    await old.tells('handover');
    for (const client of clients.filter((client) => !big.includes(client))) {
      let pid = old.pid;
      for (let count = 2; pid === old.pid; count++) {
        const answer = await client.says('x');
        assert.equal(answer[1], count);
        pid = answer[0];
      }
      assert.equal(pid, heir.pid);
    }
    for (const client of big) assert.deepEqual(await client.says('x'), [old.pid, 2]);
    assert.equal(old.told('drained'), undefined);
    for (const { socket } of big) socket.destroy();
    assert.equal((await old.end).code, 0);
  }));

/** A process that waits for a client that it has taken over, and that stays there when its own successor comes. */
async function withOneThatStays(
  drainTimeout: number,
  body: (client: Client, next: ServerChild) => Promise<void>,
): Promise<void> {
  await withClients(async ({ port, start }, clients) => {
    const old = start();
    await old.tells('serving');
    const client = new Client(port);
    clients.push(client);
    await client.says('x');
    const next = start({ savesNothing: true, options: { ...OPTIONS, drainTimeout } });
    assert.equal((await old.end).code, 0);
    assert.deepEqual(await client.says('x'), [next.pid, 2]);
    start();
    await body(client, next);
    assert.equal((await next.end).code, 0);
  });
}

test('a process waits for a connection that it has taken over by carry and that stays', () =>
  withOneThatStays(60_000, async (client, next) => {
    await next.tells('handover');
    assert.deepEqual(await client.says('x'), [next.pid, 3]);
    assert.equal(next.told('drained'), undefined);
    client.socket.destroy();
  }));

test('a connection that was taken over by carry and that stays is cut after drainTimeout', () =>
  withOneThatStays(500, async ({ socket }) => {
    await once(socket, 'close');
  }));

test('a connection that the successor cannot restore is closed, with a warning', () =>
  withClients(async ({ port, start }, clients) => {
    const old = start();
    await old.tells('serving');
    const client = new Client(port);
    clients.push(client);
    await client.says('x');
    const closed = once(client.socket, 'close');
    const heir = start({ restoresNothing: true });
    await closed;
    heir.command('exit');
    assert.match((await heir.end).stderr, /Error: it restores nothing/);
  }));

/** An answer of the `mixed` server over a WebSocket: the pid. */
async function echoed(webSocket: WebSocket): Promise<number> {
  webSocket.send('x');
  const [answer] = (await once(webSocket, 'message')) as [Buffer];
  return Number(answer.toString().split(':')[0]);
}

const REQUEST = 'GET / HTTP/1.1\r\nHost: here\r\n\r\n';
const UPGRADE = 'GET / HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: counter\r\n\r\n';

test('with carry, an HTTP server moves requests and WebSockets as without, and by carry what was upgraded', () =>
  withClients(async ({ port, start }, clients) => {
    const listeners = [{ name: 'web', kind: 'mixed' as const, options: { port, host: '127.0.0.1' } }];
    const old = start({ listeners });
    await old.tells('serving');
    const upgraded = new Client(port);
    clients.push(upgraded);
    await upgraded.asks(UPGRADE);
    assert.deepEqual(await upgraded.says('x'), [old.pid, 1]);
    const busy = new Client(port);
    clients.push(busy);
    const held = busy.requests('/held');
    const asking = new Client(port);
    clients.push(asking);
    await asking.asks(REQUEST + UPGRADE.slice(0, -1)); // with most of the next request
    await old.tells('holds');
    const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`);
    await once(webSocket, 'open');
    assert.equal(await echoed(webSocket), old.pid);
    const heir = start({ listeners });
    while ((await echoed(webSocket)) !== heir.pid); // the busy one cannot have moved then
    old.command('answer');
    assert.equal(await held, old.pid);
    await asking.asks(UPGRADE.slice(-1));
    assert.equal((await old.end).code, 0);
    assert.equal(await busy.requests(), heir.pid);
    assert.deepEqual(await upgraded.says('x'), [heir.pid, 2]);
    assert.deepEqual(await asking.says('x'), [heir.pid, 1]);
    webSocket.terminate();
  }));

test('connections move to a process that has as many as its maxConnections, and further ones are dropped there', () =>
  withClients(async ({ port, start }, clients) => {
    const listeners = [{ name: 'web', kind: 'mixed' as const, options: { port, host: '127.0.0.1' } }];
    const config = { listeners, maxConnections: 3, options: { probation: 60_000 } };
    const connected = (): Client => {
      const client = new Client(port);
      clients.push(client);
      return client;
    };
    const old = start(config);
    await old.tells('serving');
    const idle = connected();
    assert.equal(await idle.requests(), old.pid);
    const upgraded = connected();
    await upgraded.asks(UPGRADE);
    const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`);
    await once(webSocket, 'open');
    const heir = start(config);
    await heir.tells('serving');
    for (let i = 0; i < 3; i++) assert.equal(await connected().requests(), heir.pid);
    heir.command('confirm');
    assert.equal((await old.end).code, 0);
    assert.equal(await idle.requests(), heir.pid);
    assert.deepEqual(await upgraded.says('x'), [heir.pid, 1]);
    assert.equal(await echoed(webSocket), heir.pid);
    const dropped = connected().socket.resume();
    await once(dropped, 'close');
    webSocket.terminate();
  }));
