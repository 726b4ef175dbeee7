import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** A program that passes a descriptor, and says its kind. */
const PROGRAM = `
  async function main() {
    const [one, other] = socketpair();
    const near = new FdPasser({ fh: one });
    const far = new FdPasser({ fh: other });
    near.pushSendFh(openSync('/dev/null', 'r'));
    const fd = await far.receive();
    console.log(fd.kind, fd instanceof OwnedFd);
    fd.close();
    await near.close();
    await far.close();
  }
  main();`;
const MODULE = `import { openSync } from 'node:fs';\nimport { FdPasser, OwnedFd, socketpair } from 'fdpasser';\n${PROGRAM}`;
const COMMONJS = `const { openSync } = require('node:fs');\nconst { FdPasser, OwnedFd, socketpair } = require('fdpasser');\n${PROGRAM}`;
const PASSED = 'character-device true\n';

/** A folder in which the package is installed. */
function inProject(body: (folder: string) => Promise<void>): Promise<void> {
  return inFolder(async (folder) => {
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules/fdpasser'));
    await body(folder);
  });
}

function run(...args: string[]): { status: number | null; signal: string | null; stdout: string; stderr: string } {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { status, signal, stdout, stderr };
}

function bundle(folder: string, format: 'esm' | 'cjs', external: string[]): string {
  writeFileSync(join(folder, 'program.mjs'), MODULE);
  const outfile = join(folder, format === 'esm' ? 'bundled.mjs' : 'bundled.cjs');
  const options = ['--bundle', '--platform=node', `--format=${format}`, `--outfile=${outfile}`, '--log-level=error'];
  const flags = external.map((name) => `--external:${name}`);
  execFileSync(join(root, 'node_modules/.bin/esbuild'), [join(folder, 'program.mjs'), ...options, ...flags]);
  return outfile;
}

for (const format of ['esm', 'cjs'] as const) {
  test(`a bundle of the package by esbuild, as ${format}, fails with an error about bundling and the solution`, () =>
    inProject(async (folder) => {
      const { status, stderr } = run(bundle(folder, format, []));
      assert.equal(status, 1);
      assert.match(stderr, /fdpasser was bundled into another file.*Mark "fdpasser" as external.*--external:fdpasser/);
      assert.match(stderr, /ERR_FDPASSER_ADDON/);
    }));

  test(`a bundle by esbuild, as ${format}, with fdpasser left out passes descriptors`, () =>
    inProject(async (folder) => {
      const end = run(bundle(folder, format, ['fdpasser']));
      assert.deepEqual(end, { status: 0, signal: null, stdout: PASSED, stderr: '' });
    }));
}

test('a loader that cannot require an ES module, such as that of Jest, gets the package as CommonJS', () =>
  inProject(async (folder) => {
    const file = join(folder, 'program.cjs');
    writeFileSync(
      file,
      `${COMMONJS}\nconsole.error(Object.keys(require.cache).some((name) => name.includes('commonjs')));`,
    );
    const end = run('--no-experimental-require-module', file);
    assert.deepEqual(end, { status: 0, signal: null, stdout: PASSED, stderr: 'true\n' });
  }));

test('require() and import give one OwnedFd', () =>
  inProject(async (folder) => {
    const file = join(folder, 'both.mjs');
    const code = `import { createRequire } from 'node:module';
      import { OwnedFd } from 'fdpasser';
      console.log(createRequire(import.meta.url)('fdpasser').OwnedFd === OwnedFd);`;
    writeFileSync(file, code);
    const { status, stdout } = run(file);
    assert.deepEqual({ status, stdout }, { status: 0, stdout: 'true\n' });
  }));
