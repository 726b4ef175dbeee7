import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { test } from '../support/test.js';

const file = fileURLToPath(new URL('children/leaks.js', import.meta.url));

/** The standard error of a process that leaks `first` OwnedFds, and then more. */
async function leaking(first: number, more: number, flags: string[], debug = ''): Promise<string> {
  const env = { ...process.env, NODE_DEBUG: debug };
  const { code, signal, stderr } = await ended(
    spawn(process.execPath, [...flags, file, `${first}`, `${more}`], { env, stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr);
  return stderr;
}

test('leaked OwnedFds cause one warning, with their number and how to find them', async () => {
  const stderr = await leaking(12, 5, []);
  const told = [...stderr.matchAll(/FdPasserWarning: (.*)/g)].map(([, message]) => message!);
  assert.equal(told.length, 1);
  assert.match(told[0]!, /^\d+ descriptors? \((\d+, ){7}\d+, …\) were closed because .* garbage-collected\. .*"using"/);
  assert.match(told[0]!, /--trace-warnings or NODE_DEBUG=fdpasser/);
});

test('each leaked OwnedFd causes a warning with the stack of where it came from, if that is asked for', async () => {
  for (const [flags, debug] of [
    [['--trace-warnings'], ''],
    [[], 'fdpasser'],
  ] as const) {
    const stderr = await leaking(3, 2, [...flags], debug);
    const counts = [...stderr.matchAll(/FdPasserWarning: (?:(\d+) descriptors|Descriptor)/g)].map(([, n]) =>
      Number(n ?? 1),
    );
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      5,
      stderr,
    );
    assert.match(stderr, /Where [\d, ]+ came from:\n.*new OwnedFd[^]*at leakHere \(.*leaks\.js/);
  }
});
