import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { amount } from '../support/amount.js';
import { until } from '../support/descriptors.js';
import { freePort } from '../support/connection.js';
import { ask, onSite } from '../support/takeover.js';
import { test } from '../support/test.js';

const OPTIONS = { probation: 100 };

test('a Unix path survives upgrades, and no connection there is refused', () =>
  onSite(async ({ folder, start, load }) => {
    const socketPath = join(folder, 'path');
    const config = {
      options: OPTIONS,
      listeners: [{ name: 'web', kind: 'http' as const, options: { path: socketPath } }],
    };
    let serving = start(config);
    await serving.tells('serving');
    const clients = load({ socketPath });
    for (let upgrade = 0; upgrade < amount(5, 2); upgrade++) {
      const next = start(config);
      await next.tells('serving');
      await serving.tells('drained');
      assert.equal((await serving.end).code, 0);
      serving = next;
    }
    assert.equal(await ask({ socketPath }), `${serving.pid}`);
    await clients.stop();
    assert.deepEqual(clients.errors, []);
    assert.ok(existsSync(socketPath));
  }));

test('a datagram is read once: by the new process when it serves, and by the old one again after a rollback', () =>
  onSite(async ({ start }) => {
    const port = await freePort();
    const config = { listeners: [{ name: 'udp', kind: 'udp' as const, options: { port, address: '127.0.0.1' } }] };
    const client = dgram.createSocket('udp4');
    const answers: string[] = [];
    client.on('message', (bytes) => answers.push(bytes.toString()));
    const who = async (word: string): Promise<string[]> => {
      for (let count = 0; count < 20; count++) client.send(`${word}${count}`, port, '127.0.0.1');
      const due = (): string[] => answers.filter((answer) => answer.includes(` ${word}`));
      await until(() => due().length >= 20);
      assert.equal(new Set(due()).size, 20);
      assert.equal(due().length, 20);
      return [...new Set(due().map((answer) => answer.split(' ')[0]!))];
    };
    try {
      const old = start(config);
      await old.tells('serving');
      assert.deepEqual(await who('a'), [`${old.pid}`]);
      const fails = start({ ...config, options: { probation: 60_000 } });
      await fails.tells('serving');
      assert.deepEqual(await who('b'), [`${fails.pid}`]);
      fails.command('abort');
      await old.tells('rollback');
      assert.deepEqual(await who('c'), [`${old.pid}`]);
      const heir = start({ ...config, options: OPTIONS });
      await heir.tells('serving');
      assert.deepEqual(await who('d'), [`${heir.pid}`]);
      assert.equal((await old.end).code, 0);
    } finally {
      client.close();
      await once(client, 'close');
    }
  }));
