import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { ask, nextUpgradeWorks, onSite } from '../support/takeover.js';
import { partly } from '../support/test.js';

/** Every step of the old process, before and after it. */
const STEPS = [
  'at HELLO',
  'before MANIFEST',
  'after MANIFEST',
  'at READY',
  'before COMMIT',
  'after COMMIT',
  'at SERVING',
  'at CONFIRM',
  'before CONFIRMED',
  'after CONFIRMED',
  'before BYE',
];
/** Whether everything that was reported as handed over has arrived. */
const HANDED_OVER = STEPS.indexOf('after MANIFEST');

for (const [index, step] of STEPS.entries()) {
  partly(index % 6 === 1)(`an old process killed ${step} is followed by the new one, and the next upgrade works`, () =>
    onSite(async (site) => {
      const { port, start, load } = site;
      const options = { probation: 100 };
      const old = start({ options, at: { step, signal: 'SIGKILL' } });
      await old.tells('serving');
      const clients = load();
      await clients.answers(5);
      const heir = start({ options });
      assert.equal((await old.end).signal, 'SIGKILL');
      await heir.tells('serving');
      await clients.answers(5);
      assert.equal(await ask({ port }), `${heir.pid}`);
      await nextUpgradeWorks(site, heir, clients);
      assert.equal((await heir.end).code, 0);
      if (index < HANDED_OVER) return; // its listeners died with it
      // One connection at a time: it may be the one that the killed process had accepted.
      assert.ok(clients.errors.length <= 1, String(clients.errors));
      for (const { code } of clients.errors) assert.notEqual(code, 'ECONNREFUSED');
    }),
  );

  partly(index % 6 === 2)(
    `an old process stopped ${step} and woken leaves one that serves, and the next upgrade works`,
    () =>
      onSite(async (site) => {
        const { port, start, load } = site;
        const options = { probation: 100 };
        const old = start({ options, at: { step, signal: 'SIGSTOP' } });
        await old.tells('serving');
        const clients = load();
        await clients.answers(5);
        const heir = start({ options });
        await old.stopsOrEnds();
        old.kill('SIGCONT');
        await heir.tells('serving');
        await old.tells('drained');
        await clients.answers(5);
        assert.equal(await ask({ port }), `${heir.pid}`);
        await nextUpgradeWorks(site, heir, clients);
        assert.deepEqual(clients.errors, []);
        assert.equal((await old.end).code, 0);
        assert.equal((await heir.end).code, 0);
      }),
  );

  for (const connected of [true, false])
    partly(connected ? index % 6 === 3 : index % 6 === 4)(
      `an old process that closes its server ${step} ${connected ? 'while it has a client' : 'and has no client'} is followed`,
      () =>
        onSite(async ({ port, start }) => {
          const options = { probation: 100 };
          const old = start({ options, closesAt: step });
          await old.tells('serving');
          const client = connect(port, '127.0.0.1');
          if (connected) client.write('GET / HTTP/1.1\r\n');
          else client.destroy();
          await ask({ port }); // it has been accepted
          const heir = start({ options });
          await heir.tells('serving');
          assert.equal(await ask({ port }), `${heir.pid}`);
          client.write('Host: here\r\nConnection: close\r\n\r\n');
          if (connected) assert.match((await client.toArray()).join(''), / 200 OK\r\n/);
          assert.equal((await old.end).code, 0);
          assert.equal(await ask({ port }), `${heir.pid}`);
        }),
    );
}
