import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { median } from './statistics.js';

const TIMES = 5;

/**
 * How much longer than an empty script one takes that imports the library and passes one descriptor, in nanoseconds.
 */
export function cold() {
  const over = Array.from({ length: TIMES }, () => -time('empty.js') + time('cold.js'));
  return { over: median(over) };
}

function time(side) {
  const script = fileURLToPath(new URL(`sides/${side}`, import.meta.url));
  const begin = performance.now();
  const { status } = spawnSync(process.execPath, [script], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`${script} ended: code ${status}`);
  return (performance.now() - begin) * 1e6;
}
