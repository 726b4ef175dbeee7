import assert from 'node:assert/strict';
import { FdPasser } from 'fdpasser';
import { ended, startChild } from '../support/child.js';
import { test } from '../support/test.js';

test('peer throws once a side was chosen, and says which call chose it', () => {
  const code = 'ERR_FDPASSER_NOT_A_PAIR';
  const parent = new FdPasser();
  parent.iAmParent();
  assert.throws(() => parent.peer, { code, message: /no peer any more: iAmParent\(\) closed one end/ });
  parent.destroy();
  const child = new FdPasser();
  child.iAmChild();
  assert.throws(() => child.peer, { code, message: /no peer any more: iAmChild\(\) closed one end/ });
  child.destroy();
});

test('peer throws once a passer that has both ends was closed', () => {
  const passer = new FdPasser();
  passer.destroy();
  assert.throws(() => passer.peer, { code: 'ERR_FDPASSER_CLOSED' });
});

async function warnedOf(how: string): Promise<string> {
  const { code, signal, stdout } = await ended(startChild('passer/forgotten-choice', { args: [how] }));
  assert.deepEqual([code, signal], [0, null]);
  return stdout;
}

test('a process that forgot to choose a side is warned while it waits', async () => {
  assert.match(
    await warnedOf('waits'),
    /^FdPasserWarning: 2 descriptors wait to be sent, and a receive waits, on an FdPasser that has both ends.*iAmParent\(\)[^\n]*\n$/,
  );
});

test('a process that forgot to choose a side is warned when it becomes idle, and ends', async () => {
  assert.match(await warnedOf('idle'), /^FdPasserWarning: A descriptor waits to be sent on an FdPasser[^\n]*\n$/);
});

test('a process is warned once of a side that it forgot to choose', async () => {
  assert.match(await warnedOf('twice'), /^FdPasserWarning: A receive waits on an FdPasser[^\n]*\n$/);
});

for (const [how, what] of Object.entries({
  chosen: 'chose its side in time',
  closed: 'closed its passer',
  withdrawn: 'waits for nothing any more',
  'not-known': 'gave its peer to nobody',
}))
  test(`a process that ${what} is not warned`, async () => assert.equal(await warnedOf(how), ''));
