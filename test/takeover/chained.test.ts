import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { amount, isLong } from '../support/amount.js';
import { freePort } from '../support/connection.js';
import { Crowd } from '../support/crowd.js';
import { inFolder } from '../support/descriptors.js';
import { withPrograms, type Program } from '../support/programs.js';
import { ask, onSite, upgradesItself } from '../support/takeover.js';
import { test, testInFull } from '../support/test.js';

const OPTIONS = { probation: 50 };

/** How often a program is replaced, one after the other. */
const UPGRADES = amount(10, 4, 50);

interface Use {
  descriptors: number;
  /** Bytes. */
  heap: number;
  resident: number;
}

async function useOf({ pid }: Program, port: number): Promise<Use> {
  const heap = Number(await ask({ port }, '/heap'));
  const resident = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, heap, resident };
}

testInFull(
  'the last of many programs that took over from each other uses no more descriptors and memory than the second',
  () =>
    inFolder((folder) =>
      withPrograms(async (start) => {
        const port = await freePort();
        const options = { where: { host: '127.0.0.1', port }, control: join(folder, 'control') };
        let old = start('http.cjs', options);
        await old.says('listens');
        const crowd = new Crowd({ where: options.where, keepAlive: 8, webSockets: 8 });
        try {
          await crowd.begins();
          const upgrade = async (): Promise<void> => {
            const heir = start('http.cjs', options);
            await heir.says('listens');
            assert.equal((await old.drained()).code, 0);
            await crowd.goesOn();
            old = heir;
          };
          await upgrade();
          const second = await useOf(old, port);
          assert.ok(second.descriptors > 16, 'every client is connected there');
          for (let count = 1; count < UPGRADES; count++) await upgrade();
          let last = await useOf(old, port);
          if (isLong) console.log({ second, last });
          for (
            const end = performance.now() + 10_000;
            last.descriptors > second.descriptors && performance.now() < end;
          )
            last = await useOf(old, port); // a connection of an earlier question may still be closing
          assert.ok(
            last.descriptors <= second.descriptors,
            `${last.descriptors} and not ${second.descriptors} are open`,
          );
          assert.ok(last.heap < second.heap * 1.1, `the heap is ${last.heap} and not ${second.heap} bytes`);
          assert.ok(last.resident < second.resident * 1.25, `${last.resident} and not ${second.resident} bytes`);
        } finally {
          await crowd.stop();
        }
        assert.deepEqual(crowd.errors, []);
        assert.equal(crowd.connections, 16);
      }),
    ),
);

test('a process that upgrades itself gets the pid of its successor, and one whose successor ends goes on serving', () =>
  onSite(async (site) => {
    const { port, start } = site;
    const old = start({ options: OPTIONS });
    await old.tells('serving');
    old.command('upgrade to nothing');
    const { code, message } = await old.tells('failed');
    assert.equal(code, 'ERR_FDPASSER_GONE');
    assert.match(message!, /code 3/);
    assert.equal(await ask({ port }), `${old.pid}`);
    await upgradesItself(site, old);
  }));
