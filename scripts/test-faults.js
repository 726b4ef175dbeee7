/**
 * Runs, in full, the tests that make system calls fail, and those that kill or stop processes at each call. `npm test`
 * runs a part of them.
 *
 * node scripts/test-faults.js [--table] prints the table: purpose, call, errno, how often, outcome
 */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const script = join(dirname(fileURLToPath(import.meta.url)), 'test.js');
const { status } = spawnSync(
  process.execPath,
  [script, 'injected-errors', 'injected-by-strace', 'death-at-every-step'],
  {
    stdio: 'inherit',
    env: { ...process.env, FAULTS_ALL: '1', ...(process.argv.includes('--table') ? { FAULTS_TABLE: '1' } : {}) },
  },
);
process.exitCode = status ?? 1;
