/**
 * How many instructions a row takes in user space, counted by Valgrind. This does not swing as times do.
 *
 * A side asks for its CPU time (getrusage) when a run begins and when it ends, and nowhere else, so the count is written
 * down there: the fourth time is the end of the second run, with what was counted since that run began.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPair } from './pair.js';

const END_OF_SECOND_RUN = 4;

/** Why instructions cannot be counted here, or undefined when they can. */
export function noInstructions() {
  return spawnSync('valgrind', ['--version']).status === 0 ? undefined : 'Valgrind is not installed';
}

/** Instructions for each descriptor, or write, on both sides, when `warm` of them went before. */
export async function countInstructions(row, { warm, counted }) {
  const folder = mkdtempSync(join(tmpdir(), 'instructions-'));
  const under = (role) => [
    'valgrind',
    '--quiet',
    '--tool=callgrind',
    `--callgrind-out-file=${join(folder, role)}`,
    '--dump-before=getrusage',
    '--smc-check=all-non-file', // compiled JavaScript is code that changes
  ];
  try {
    const pair = startPair({ ...row, send: singleThreaded(row.send), receive: singleThreaded(row.receive) }, under);
    await pair.run(warm);
    await pair.run(counted);
    await pair.end();
    return { send: total(folder, 'send') / counted, receive: total(folder, 'receive') / counted };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** V8 compiles while the program waits: what it compiles for the warm run is not counted in the other. */
function singleThreaded([command, ...args]) {
  return command === process.execPath ? [command, '--single-threaded', ...args] : [command, ...args];
}

function total(folder, role) {
  const profile = readFileSync(join(folder, `${role}.${END_OF_SECOND_RUN}`), 'utf8');
  return Number(/^totals: (\d+)$/m.exec(profile)[1]);
}
