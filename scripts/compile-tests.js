/** Compiles the tests, and the libraries that are loaded into their processes. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const build = join(root, 'build');
export const library = (name) => join(build, `${name}.so`);

export function compileTests() {
  rmSync(join(build, 'test'), { recursive: true, force: true });
  mkdirSync(build, { recursive: true });
  const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared'];
  for (const name of ['close-guard', 'deny', 'faults', 'refuse'])
    execFileSync(process.env.CC ?? 'cc', [...flags, '-o', library(name), join(root, `test/support/${name}.c`), '-ldl']);
  execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(root, 'test/tsconfig.json')], { stdio: 'inherit' });
}
