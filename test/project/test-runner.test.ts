import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ended, type Ended } from '../support/child.js';
import { test } from '../support/test.js';

const runner = fileURLToPath(new URL('../../../scripts/run-files.js', import.meta.url));

/** Runs test files of that content by scripts/run-files.js. `FOLDER` is theirs. */
async function runFiles(
  limits: { limit: number; grace: number },
  contents: Record<string, string>,
): Promise<Ended & { folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-runner-'));
  const files = Object.entries(contents).map(([name, content]) => {
    const file = join(folder, `${name}.test.mjs`);
    writeFileSync(file, content);
    return file;
  });
  const program = join(folder, 'run.mjs');
  writeFileSync(
    program,
    `import { runFiles } from ${JSON.stringify(runner)};
     await runFiles(${JSON.stringify(files)}, ${JSON.stringify(limits)});`,
  );
  const env = { ...process.env, FOLDER: folder, NODE_TEST_CONTEXT: undefined };
  return { ...(await ended(spawn(process.execPath, [program], { env }))), folder };
}

const PASSES = `
  import { test } from 'node:test';
  test('passes', () => {});
`;

/** Writes down its number, and stays whatever happens, with the standard output of its parent. */
const STAYS = `
  import { spawn } from 'node:child_process';
  import { writeFileSync } from 'node:fs';
  const child = spawn('sleep', ['1000'], { detached: true, stdio: process.env.STAYS_WITH ?? 'inherit' });
  writeFileSync(process.env.FOLDER + '/pid', String(child.pid));
  child.unref();
`;

function assertGone(folder: string): void {
  const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'));
  let state = 'gone';
  try {
    state = /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))![1]!;
  } catch {
    // Its number is not in use.
  }
  assert.match(state, /^(?:gone|Z|X)$/);
}

test('a test file that does not end is killed with what it started, named, and the next one runs', async () => {
  const hangs = `
    ${PASSES}
    ${STAYS}
    process.on('SIGTERM', () => {});
    test('hangs', () => new Promise(() => setInterval(() => {}, 1000)));
  `;
  const { code, stdout, folder } = await runFiles({ limit: 4000, grace: 0 }, { first: hangs, second: PASSES });
  assert.equal(code, 1);
  assert.match(stdout, /test timed out after 4000ms/);
  assert.match(stdout, /first\.test\.mjs did not end; under way: hangs/);
  assert.match(stdout, /first\.test\.mjs left a process behind: \d+ sleep 1000/);
  assert.match(stdout, /^# pass 2$/m);
  assertGone(folder);
  rmSync(folder, { recursive: true });
});

test('a process that a test file leaves behind is killed, and the file has failed', async () => {
  const leaves = `${PASSES} process.env.STAYS_WITH = 'ignore'; ${STAYS}`;
  const { code, stdout, folder } = await runFiles({ limit: 60_000, grace: 100 }, { leaves });
  assert.equal(code, 1);
  assert.match(stdout, /^not ok 2 - .*leaves\.test\.mjs left a process behind: \d+ sleep 1000$/m);
  assert.match(stdout, /^# pass 1\n# fail 1$/m);
  assertGone(folder);
  rmSync(folder, { recursive: true });
});

test('test files that pass are one run, with one plan and one sum', async () => {
  const { code, stdout, folder } = await runFiles({ limit: 60_000, grace: 0 }, { first: PASSES, second: PASSES });
  assert.equal(code, 0);
  assert.match(stdout, /^ok 1 - passes$[^]*^ok 2 - passes$[^]*^1\.\.2\n# tests 2$[^]*^# pass 2\n# fail 0$/m);
  rmSync(folder, { recursive: true });
});

test('what counts descriptors counts none of Node itself where standard output is a file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-runner-'));
  const output = openSync(join(folder, 'output'), 'w');
  const file = fileURLToPath(new URL('../descriptor/close-on-exec.test.js', import.meta.url));
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const { code } = await ended(spawn(process.execPath, [file], { env, stdio: ['ignore', output, output] }));
  closeSync(output);
  assert.equal(code, 0, readFileSync(join(folder, 'output'), 'utf8'));
  rmSync(folder, { recursive: true });
});
