/**
 * Compiles the tests and runs them, or those named, under the guard against closing a number twice.
 *
 *   node scripts/test.js [name ...]     such as "order", for test/order.test.ts
 *
 * PRELOAD names libraries to load before the guard: a sanitizer's. FAULTS_ALL is for scripts/test-faults.js.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runFiles } from './run-files.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, 'build');
const library = (name) => join(build, `${name}.so`);

/** Generous: only a hang takes as long. */
const LIMIT = (process.env.FAULTS_ALL ? 60 : 8) * 60_000;

rmSync(join(build, 'test'), { recursive: true, force: true });
mkdirSync(build, { recursive: true });
const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared'];
for (const name of ['close-guard', 'deny', 'faults', 'refuse'])
  execFileSync(process.env.CC ?? 'cc', [...flags, '-o', library(name), join(root, `test/support/${name}.c`), '-ldl']);
execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(root, 'test/tsconfig.json')], { stdio: 'inherit' });

const wanted = process.argv.slice(2);
const files = readdirSync(join(build, 'test'))
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.includes(name.slice(0, -'.test.js'.length)))
  .toSorted()
  .map((name) => join(build, 'test', name));

process.chdir(root);
process.env.LD_PRELOAD = [process.env.PRELOAD, library('close-guard')].filter(Boolean).join(':');
await runFiles(files, { limit: LIMIT, grace: 10_000 });
