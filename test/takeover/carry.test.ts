import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { onSite, type Site } from '../support/takeover.js';
import { test } from '../support/test.js';

const OPTIONS = { probation: 100 };

/** A client of a server that counts the lines of each connection. */
class Client {
  readonly socket: net.Socket;

  constructor(port: number) {
    this.socket = net.connect(port, '127.0.0.1');
  }

  /** The pid of the process that answers, and its count. */
  async says(text: string): Promise<[pid: number, count: number]> {
    this.socket.write(text);
    const [answer] = (await once(this.socket, 'data')) as [Buffer];
    const [pid, count] = answer.toString().split(' ').map(Number);
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
