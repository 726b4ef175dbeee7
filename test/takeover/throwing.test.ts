/** Programs whose listeners throw when they are told of a takeover. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { ask, onSite, upgradesItself, type ServerChild } from '../support/takeover.js';
import { test } from '../support/test.js';

/** What its listeners have thrown. */
const uncaught = ({ reports }: ServerChild): (string | undefined)[] =>
  reports.filter(({ event }) => event === 'uncaught').map(({ message }) => message);

test('a connection moves, and the old process ends, though the listeners of both processes throw', () =>
  onSite(async ({ port, start }) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const old = start({ throws: true });
    await old.tells('serving');
    assert.equal(await ask({ port }, '/', agent), `${old.pid}`);
    const [connection] = Object.values(agent.freeSockets)[0]!;
    const heir = start({ throws: true, options: { probation: 100 } });
    const { code, stderr } = await old.end;
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(uncaught(old), ['listening', 'serving', 'handover', 'drained']);
    assert.equal(await ask({ port }, '/', agent), `${heir.pid}`);
    assert.equal(Object.values(agent.freeSockets)[0]![0], connection);
    assert.deepEqual(uncaught(heir), ['listening', 'serving']);
    agent.destroy();
  }));

test('the old process serves again, and then upgrades, though the listeners of both processes throw', () =>
  onSite(async (site) => {
    const { port, start } = site;
    const old = start({ throws: true });
    await old.tells('serving');
    const heir = start({ throws: true, options: { probation: 60_000 } });
    await heir.tells('serving');
    heir.command('abort');
    assert.deepEqual([(await heir.end).code, uncaught(heir)], [1, ['listening', 'serving', 'rolledback']]);
    await old.tells('rollback');
    assert.equal(await ask({ port }), `${old.pid}`);
    await upgradesItself(site, old);
    assert.deepEqual(uncaught(old), ['listening', 'serving', 'rollback', 'handover', 'drained']);
  }));
