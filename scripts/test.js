/**
 * Compiles the tests and runs them, or those named, under the guard against closing a number twice.
 *
 *   node scripts/test.js [name ...]     such as "order", for test/order.test.ts
 *
 * PRELOAD names libraries to load before the guard: a sanitizer's.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, 'build');
const library = (name) => join(build, `${name}.so`);

rmSync(join(build, 'test'), { recursive: true, force: true });
mkdirSync(build, { recursive: true });
const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared'];
for (const name of ['close-guard', 'faults'])
  execFileSync(process.env.CC ?? 'cc', [...flags, '-o', library(name), join(root, `test/support/${name}.c`), '-ldl']);
execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(root, 'test/tsconfig.json')], { stdio: 'inherit' });

const wanted = process.argv.slice(2);
const files = readdirSync(join(build, 'test'))
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.includes(name.slice(0, -'.test.js'.length)))
  .map((name) => join(build, 'test', name));

const preload = [process.env.PRELOAD, library('close-guard')].filter(Boolean).join(':');
const { status, signal } = spawnSync(process.execPath, ['--test', ...files], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, LD_PRELOAD: preload },
});
if (signal) console.error(`the test runner was killed by ${signal}`);
process.exitCode = status ?? 1;
