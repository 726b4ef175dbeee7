import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { ended, startChild } from '../support/child.js';
import { test } from '../support/test.js';

// Node 20's name for it, or the later one.
const permission = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission';
const here = fileURLToPath(new URL('../../..', import.meta.url));
const restricted = [permission, `--allow-fs-read=${here}*`];

/** Runs the child with flags that Node calls experimental. */
const run = (flags: string[], ...args: string[]) =>
  ended(startChild('native/restricted', { execArgv: ['--no-warnings', ...flags], args }));

for (const [flags, title] of [
  [['--frozen-intrinsics'], 'with frozen intrinsics'],
  [['--disable-proto=throw'], 'without __proto__'],
  [['--disallow-code-generation-from-strings'], 'where no text may become code'],
  [[...restricted, '--allow-addons', '--allow-worker'], 'under the permission model with --allow-addons'],
] as const)
  test(`the library loads and passes descriptors ${title}, in a worker too`, async () => {
    assert.deepEqual(await run([...flags], 'worker'), { code: 0, signal: null, stdout: '', stderr: '' });
  });

for (const [flags, title] of [
  [restricted, 'under the permission model without --allow-addons'],
  [['--no-addons'], 'with --no-addons'],
] as const)
  test(`the import fails ${title}, and says which flag`, async () => {
    const { code, signal, stdout, stderr } = await run([...flags]);
    assert.deepEqual({ code, signal, stdout }, { code: 1, signal: null, stdout: '' });
    assert.match(stderr, /FdPasserError: .*--allow-addons.*--no-addons[^]*code: 'ERR_FDPASSER_ADDON'/);
  });
