/**
 * How many instructions a row takes in user space, counted by Valgrind. Unlike times, this does not vary. A side asks
 * for its CPU time (getrusage) only when a run begins and when it ends, so the count is taken there. Only the last run
 * counts, because V8 has compiled the code by then.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPair } from './pair.js';

const RUNS = 7;

export function canCount() {
  return spawnSync('valgrind', ['--version']).status === 0;
}

/** Instructions for each descriptor, or write, on both sides, in a run of `count`. */
export async function countInstructions(row, count) {
  const folder = mkdtempSync(join(tmpdir(), 'instructions-'));
  const under = (role) => [
    'valgrind',
    '--quiet',
    '--tool=callgrind',
    `--callgrind-out-file=${join(folder, role)}`,
    '--dump-before=getrusage',
    '--smc-check=all-non-file', // V8 changes code while it runs
  ];
  try {
    const pair = startPair({ ...row, send: singleThreaded(row.send), receive: singleThreaded(row.receive) }, under);
    for (let run = 0; run < RUNS; run++) await pair.run(count);
    await pair.end();
    return { send: total(folder, 'send') / count, receive: total(folder, 'receive') / count };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Makes V8 compile on the main thread, so that no thread compiles during the run that counts. */
function singleThreaded([command, ...args]) {
  return command === process.execPath ? [command, '--single-threaded', ...args] : [command, ...args];
}

function total(folder, role) {
  const profile = readFileSync(join(folder, `${role}.${2 * RUNS}`), 'utf8');
  return Number(/^totals: (\d+)$/m.exec(profile)[1]);
}
