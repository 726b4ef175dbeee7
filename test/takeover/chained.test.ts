import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { until } from '../support/descriptors.js';
import { ask, onSite, type ServerChild } from '../support/takeover.js';
import { test } from '../support/test.js';

const OPTIONS = { probation: 50 };

function descriptorsOf({ pid }: ServerChild): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

test('ten upgrades, one after the other, leave no more descriptors open than one does', () =>
  onSite(async ({ start, load }) => {
    let old = start({ options: OPTIONS });
    await old.tells('serving');
    const clients = load();
    const upgrade = async (): Promise<void> => {
      const heir = start({ options: OPTIONS });
      await heir.tells('serving');
      assert.equal((await old.end).code, 0);
      old = heir;
    };
    await upgrade();
    await clients.answers(5);
    await clients.stop();
    await upgrade();
    const open = descriptorsOf(old);
    const more = load();
    for (let count = 0; count < 8; count++) {
      await upgrade();
      await more.answers(5);
    }
    await more.stop();
    assert.deepEqual([...clients.errors, ...more.errors], []);
    await until(() => descriptorsOf(old) <= open);
  }));

test('a process that upgrades itself hears the pid of its successor, and one whose successor ends serves on', () =>
  onSite(async ({ port, start }) => {
    const old = start({ options: OPTIONS });
    await old.tells('serving');
    old.command('upgrade to nothing');
    const { code, message } = await old.tells('failed');
    assert.equal(code, 'ERR_FDPASSER_GONE');
    assert.match(message!, /code 3/);
    assert.equal(await ask({ port }), `${old.pid}`);
    const exited = once(old.child, 'exit');
    old.command('upgrade');
    const { pid } = await old.tells('done');
    try {
      assert.equal(await ask({ port }), `${pid}`);
      assert.deepEqual(await exited, [0, null]);
    } finally {
      process.kill(pid!);
    }
  }));
