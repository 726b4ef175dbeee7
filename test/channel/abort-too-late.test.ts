import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { channels } from '../support/channels.js';
import { anonymousFile } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** The process warnings while `body` runs. */
async function warningsOf(body: () => Promise<void>): Promise<string[]> {
  const warnings: string[] = [];
  const note = ({ name, message }: Error): void => void warnings.push(`${name}: ${message}`);
  process.on('warning', note);
  await body();
  for (let i = 0; i < 3; i++) await turn();
  process.off('warning', note);
  return warnings;
}

test('a signal that is too late for a confirmation causes one warning, and what the warning advises ends the wait', async () => {
  const [one, other] = channels();
  const fds = [anonymousFile(), anonymousFile()];
  const warnings = await warningsOf(async () => {
    const abort = new AbortController();
    const sends = fds.map((fd) => one.send('departs', [fd], { confirm: true, signal: abort.signal }));
    await one.send('so that the others have departed');
    abort.abort();
    for (let i = 0; i < 3; i++) await turn();
    one.destroy();
    for (const send of sends) await assert.rejects(send, { code: 'ERR_FDPASSER_CLOSED' });
  });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /^FdPasserWarning: .*cannot be taken back.*destroy\(\) the channel or end the peer/);
  for (const fd of fds) closeSync(fd); // the sender's again
  await other.close();
});

test('a signal that comes in time, with destroy(), or for a send without confirmation causes no warning', async () => {
  const [one, other] = channels();
  const warnings = await warningsOf(async () => {
    const abort = new AbortController();
    const { signal } = abort;
    await one.send('departs', [], { signal });
    const departed = one.send('departs', [], { confirm: true, signal });
    await one.send('so that the other has departed');
    const inTime = one.send('does not depart', [], { confirm: true, signal });
    abort.abort();
    one.destroy();
    await assert.rejects(inTime, { name: 'AbortError' });
    await assert.rejects(departed, { code: 'ERR_FDPASSER_CLOSED' });
  });
  assert.deepEqual(warnings, []);
  await other.close();
});
