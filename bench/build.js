/** Compiles bench/ceiling.c into build/. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CEILING } from './rows.js';

export function buildCeiling() {
  mkdirSync(dirname(CEILING), { recursive: true });
  const warnings = ['-Wall', '-Wextra', '-Wshadow', '-Wconversion', '-Werror'];
  const source = fileURLToPath(new URL('ceiling.c', import.meta.url));
  execFileSync(
    process.env.CC ?? 'cc',
    ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-pthread', ...warnings, '-o', CEILING, source],
    { stdio: 'inherit' },
  );
}
