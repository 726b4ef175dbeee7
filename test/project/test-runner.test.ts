import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ended, type Ended } from '../support/child.js';
import { inFolder, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

const runner = fileURLToPath(new URL('../../../scripts/run-files.js', import.meta.url));

/**
 * Runs test files of this content with scripts/run-files.js, two at once, except those with "alone" in their names.
 * `FOLDER` is their folder.
 */
async function runFiles(
  limits: { limit: number; grace: number },
  contents: Record<string, string>,
  more: NodeJS.ProcessEnv = {},
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
     const isAlone = (file) => file.includes('alone');
     await runFiles(${JSON.stringify(files)}, { ...${JSON.stringify(limits)}, atOnce: 2, isAlone });`,
  );
  const env = { ...process.env, FOLDER: folder, NODE_TEST_CONTEXT: undefined, ...more };
  return { ...(await ended(spawn(process.execPath, [program], { env }))), folder };
}

const PASSES = `
  import { test } from 'node:test';
  test('passes', () => {});
`;

/** Writes its pid to a file, and stays whatever happens, with the standard output of its parent. */
const STAYS = `
  import { spawn } from 'node:child_process';
  import { writeFileSync } from 'node:fs';
  const child = spawn('sleep', ['1000'], { detached: true, stdio: process.env.STAYS_WITH ?? 'inherit' });
  writeFileSync(process.env.FOLDER + '/pid', String(child.pid));
  child.unref();
`;

/** A killed process ends a little later. */
async function isGone(folder: string): Promise<void> {
  const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'));
  await until(() => {
    try {
      return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
      return true; // its number is not in use
    }
  });
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
  await isGone(folder);
  rmSync(folder, { recursive: true });
});

test('a process that a test file leaves behind is killed, and the file has failed', async () => {
  const leaves = `${PASSES} process.env.STAYS_WITH = 'ignore'; ${STAYS}`;
  const { code, stdout, folder } = await runFiles({ limit: 60_000, grace: 100 }, { leaves });
  assert.equal(code, 1);
  assert.match(stdout, /^not ok 2 - .*leaves\.test\.mjs left a process behind: \d+ sleep 1000$/m);
  assert.match(stdout, /^# pass 1\n# fail 1$/m);
  await isGone(folder);
  rmSync(folder, { recursive: true });
});

test('test files that pass are reported as one run, with one plan and one sum', async () => {
  const { code, stdout, folder } = await runFiles({ limit: 60_000, grace: 0 }, { first: PASSES, second: PASSES });
  assert.equal(code, 0);
  assert.match(stdout, /^ok 1 - passes$[^]*^ok 2 - passes$[^]*^1\.\.2\n# tests 2$[^]*^# pass 2\n# fail 0$/m);
  rmSync(folder, { recursive: true });
});

const MEETS = `
  import { test } from 'node:test';
  import { existsSync, writeFileSync } from 'node:fs';
  import { setTimeout as sleep } from 'node:timers/promises';
  import { basename } from 'node:path';
  const path = (name) => process.env.FOLDER + '/' + name;
  const self = basename(import.meta.filename, '.test.mjs');
`;

test('two test files run at the same time, and one that must run alone begins when they are over', async () => {
  const meets = (other: string): string => `${MEETS}
    test(self + ' meets the other', { timeout: 60_000 }, async () => {
      writeFileSync(path(self), '');
      while (!existsSync(path('${other}'))) await sleep(5);
    });
    process.on('exit', () => writeFileSync(path(self + ' is over'), ''));`;
  const alone = `${MEETS}
    import assert from 'node:assert';
    test('the others are over', () => assert.ok(existsSync(path('one is over')) && existsSync(path('two is over'))));`;
  const contents = { alone, one: meets('two'), two: meets('one') };
  const { code, stdout, folder } = await runFiles({ limit: 60_000, grace: 0 }, contents);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /^# pass 3\n# fail 0$/m);
  rmSync(folder, { recursive: true });
});

const SUPPORT = new URL('../support/', import.meta.url).href;

const NEEDS = `
  import { needs } from '${SUPPORT}needs.js';
  import { test } from '${SUPPORT}test.js';
  test('a window is shown', () => needs('weston'));
  test('a file goes to Python', () => needs('python3'));
  test('a file comes from Python', () => needs('python3'));
`;

/** The environment of a machine with nothing installed, except the programs that test/support itself runs. */
function bare(folder: string): NodeJS.ProcessEnv {
  symlinkSync('/bin/true', join(folder, 'true'));
  return { PATH: folder, LD_PRELOAD: undefined };
}

test('tests whose peers are not installed are left out, and one line says how many and what to install', async () => {
  await inFolder(async (bin) => {
    const env = { ...bare(bin), CI: undefined };
    const { code, stdout, folder } = await runFiles({ limit: 60_000, grace: 0 }, { needs: NEEDS }, env);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^# skipped 3$/m);
    const line =
      '# tests left out: 1 for want of weston (apt-get install weston); 2 for want of python3 (apt-get install python3)';
    assert.ok(stdout.endsWith(`\n${line}\n`), stdout);
    rmSync(folder, { recursive: true });
  });
});

test('tests whose peers are not installed fail where CI is set', async () => {
  await inFolder(async (bin) => {
    const env = { ...bare(bin), CI: '1' };
    const { code, stdout, folder } = await runFiles({ limit: 60_000, grace: 0 }, { needs: NEEDS }, env);
    assert.equal(code, 1);
    assert.match(stdout, /^# fail 3$/m);
    assert.match(stdout, /this test needs weston \(apt-get install weston\)/);
    rmSync(folder, { recursive: true });
  });
});

test('a test that fails leaves no process of its own behind, nor one that such a process started', async () => {
  const fails = `
    import { spawn } from 'node:child_process';
    import { once } from 'node:events';
    import { test } from '${SUPPORT}test.js';
    test('fails', async () => {
      const shell = spawn('sh', ['-c', 'sleep 1000 & echo started; sleep 1000'], { stdio: ['ignore', 'pipe', 'ignore'] });
      await once(shell.stdout, 'data');
      throw new Error('as any assertion does');
    });`;
  const { code, stdout, folder } = await runFiles({ limit: 60_000, grace: 10_000 }, { fails });
  assert.equal(code, 1);
  assert.match(stdout, /as any assertion does/);
  assert.doesNotMatch(stdout, /left a process behind/);
  assert.match(stdout, /^# fail 1$/m);
  rmSync(folder, { recursive: true });
});

/** Its shell outlives the process that started it, and keeps that process's output open. */
const ORPHAN = `
  import { spawn } from 'node:child_process';
  import { once } from 'node:events';
  import { test } from '${SUPPORT}test.js';
  const shell = async () => {
    const child = spawn('sh', ['-c', '(trap "" HUP TERM; echo started; sleep 1000; sleep 1000) & echo; sleep 1000']);
    for (let said = ''; !said.includes('started');) said += String((await once(child.stdout, 'data'))[0]);
    return child;
  };`;

for (const [how, body] of [
  ['fails', `throw new Error('as any assertion does');`],
  ['waits for what has not ended', `await once(child, 'close');`],
] as const)
  test(`no process whose parent was killed keeps alive a test that ${how}`, async () => {
    const orphan = `${ORPHAN}
      test('it is started', async () => {
        const child = await shell();
        child.kill('SIGKILL');
        await once(child, 'exit');
        ${body}
      });`;
    const env = { FDPASSER_TEST_LIMIT: '1500' };
    const { code, stdout } = await runFiles({ limit: 60_000, grace: 10_000 }, { orphan }, env);
    assert.equal(code, 1);
    assert.match(stdout, /as any assertion does|it did not end within 1500 ms/);
    assert.doesNotMatch(stdout, /left a process behind|timed out/);
    assert.match(stdout, /^# fail 1$/m);
  });

test('a test that leaves something behind does not keep its file alive, and the file fails', async () => {
  const stays = `
    import { test } from '${SUPPORT}test.js';
    test('starts what never ends', () => void setInterval(() => {}, 1000));`;
  const env = { FDPASSER_TEST_LIMIT: '1500' };
  const { code, stdout } = await runFiles({ limit: 60_000, grace: 0 }, { stays }, env);
  assert.equal(code, 1);
  assert.match(stdout, /^# This was left when the tests were over, and kept the process alive: .*Timeout/m);
  assert.doesNotMatch(stdout, /timed out/);
});

test("the check for open descriptors counts none of Node's own when standard output is a file", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-runner-'));
  const output = openSync(join(folder, 'output'), 'w');
  const file = fileURLToPath(new URL('../descriptor/close-on-exec.test.js', import.meta.url));
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const { code } = await ended(spawn(process.execPath, [file], { env, stdio: ['ignore', output, output] }));
  closeSync(output);
  assert.equal(code, 0, readFileSync(join(folder, 'output'), 'utf8'));
  rmSync(folder, { recursive: true });
});
