import assert from 'node:assert/strict';
import { amount } from '../support/amount.js';
import { until } from '../support/descriptors.js';
import { ask, nextUpgradeWorks, onSite, type ServerChild } from '../support/takeover.js';
import { partly } from '../support/test.js';

/** How long the old process waits for a new one that is stopped. */
const STEP = amount(4000, 1500);

/** Every step of the new process, before and after it. */
const STEPS = [
  'before HELLO',
  'after HELLO',
  'at MANIFEST',
  'before READY',
  'after READY',
  'at COMMIT',
  'before SERVING',
  'after SERVING',
  'before CONFIRM',
  'after CONFIRM',
  'at CONFIRMED',
  'at BYE',
];
/**
 * From here on the old process may have been faster than the signal. Once the new one has taken CONFIRMED, the old one
 * does not serve again.
 */
const UNDECIDED = STEPS.indexOf('after CONFIRM');

for (const [index, step] of STEPS.entries()) {
  partly(index % 6 === 3)(`a new process killed ${step} leaves the service as it was, and the next upgrade works`, () =>
    onSite(async ({ port, start, load }) => {
      const options = { probation: 100 };
      const old = start({ options });
      await old.tells('serving');
      const clients = load();
      await clients.answers(5);
      const killed = start({ options, at: { step, signal: 'SIGKILL' } });
      assert.deepEqual((await killed.end).signal, 'SIGKILL');
      const returns = await comesBack(index, old);
      if (returns) {
        await clients.answers(5);
        assert.equal(await ask({ port }), `${old.pid}`);
      } else await old.end; // nobody serves: a supervisor starts the next process
      const next = start({ options });
      await next.tells('serving');
      if (returns) await old.tells('drained');
      await clients.answers(5);
      await clients.stop();
      assert.equal(await ask({ port }), `${next.pid}`);
      assert.equal((await old.end).code, 0, 'the old process exits by itself');
      if (!returns) return;
      // One connection at a time: it may be the one that the killed process had accepted.
      assert.ok(clients.errors.length <= 1, String(clients.errors));
      for (const { code } of clients.errors) assert.notEqual(code, 'ECONNREFUSED');
    }),
  );

  partly(index % 6 === 1)(
    `a new process stopped ${step} and woken leaves one that serves, and the next upgrade works`,
    () =>
      onSite(async (site) => {
        const { port, start, load } = site;
        const options = { probation: 100, stepTimeout: STEP, initTimeout: STEP };
        const old = start({ options });
        await old.tells('serving');
        const clients = load();
        await clients.answers(5);
        const stopped = start({ options, at: { step, signal: 'SIGSTOP' } });
        await stopped.stopsOrEnds();
        const returns = await comesBack(index, old);
        const waits = returns && index > STEPS.indexOf('after HELLO');
        if (waits) await old.tells('rollback');
        stopped.kill('SIGCONT');
        if (waits) assert.equal((await stopped.end).code, 1);
        else await stopped.tells('serving');
        const before = waits ? old : stopped;
        await clients.answers(5);
        assert.equal(await ask({ port }), `${before.pid}`);
        if (!waits) await old.end;
        await nextUpgradeWorks(site, before, clients);
        assert.deepEqual(clients.errors, []);
        assert.equal((await before.end).code, 0);
      }),
  );
}

/** Whether the old process serves after the new one failed at this step. */
async function comesBack(index: number, old: ServerChild): Promise<boolean> {
  if (index < UNDECIDED) return true;
  await until(() => old.told('rollback') !== undefined || old.told('handover') !== undefined);
  return old.told('rollback') !== undefined;
}
