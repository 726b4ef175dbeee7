/**
 * Measures, in turn, the rows of rows.js, and says which targets are met: see docs/benchmarks.md, which this writes.
 *
 *   node bench/bench.js                    all, into docs/
 *   node bench/bench.js --json             the figures alone, on standard output
 *   node bench/bench.js --only c-1,passer  the rows that have, or begin with, these names
 *   node bench/bench.js --quick            few and short runs: whether it works, not how fast it is
 */
import { parseArgs } from 'node:util';
import { buildCeiling } from './build.js';
import { startPair } from './pair.js';
import { rows } from './rows.js';
import { median, percentile } from './statistics.js';
import { judge } from './targets.js';

const { values: options } = parseArgs({
  options: { json: { type: 'boolean' }, only: { type: 'string' }, quick: { type: 'boolean' } },
});

const ROUNDS = options.quick ? 1 : 9;
const PERCENTILES = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1];
const progress = (text) => process.stderr.write(`${text}\n`);

buildCeiling();
const only = options.only?.split(',');
const wanted = ({ name }) => only?.some((start) => name === start || name.startsWith(`${start}-`)) ?? true;
const figures = await measure(rows.filter(wanted));
const targets = judge(figures);
if (options.json) console.log(JSON.stringify({ rows: figures, targets }, undefined, 2));
else print(figures, targets);

/** Runs of all rows in turn, the first of each not counted. */
async function measure(rows) {
  const figures = {};
  const pairs = new Map();
  for (const row of rows) {
    const { title, bytes = 0 } = row;
    const missing = row.missing?.();
    figures[row.name] = missing === undefined ? { title, bytes, runs: [] } : { title, missing };
    if (missing === undefined) pairs.set(row, startPair(row));
  }
  for (let round = 0; round <= ROUNDS; round++) {
    progress(round === 0 ? 'warming up' : `round ${round} of ${ROUNDS}`);
    for (const [row, pair] of pairs) {
      const count = options.quick ? Math.ceil(row.count / 20) : row.count;
      const run = figure(count, await pair.run(count));
      if (round > 0) figures[row.name].runs.push(run);
    }
  }
  for (const pair of pairs.values()) await pair.end();
  return figures;
}

/** What one run comes to. CPU is in nanoseconds for each descriptor, or write. */
function figure(count, { sender, receiver }) {
  const { trips } = sender;
  return {
    rate: (count * 1e9) / (receiver.end - sender.begin),
    sendCpu: sender.cpu / count,
    receiveCpu: receiver.cpu / count,
    sendPeak: sender.peak,
    receivePeak: receiver.peak,
    ...(trips && {
      trip: {
        median: median(trips),
        p99: percentile(trips, 0.99),
        percentiles: PERCENTILES.map((part) => [part, percentile(trips, part)]),
      },
    }),
  };
}

function print(figures, targets) {
  const columns = ['rate', 'sendCpu', 'receiveCpu', 'sendPeak', 'receivePeak'];
  const middle = ({ missing, runs }) =>
    missing === undefined
      ? Object.fromEntries(columns.map((column) => [column, Math.round(median(runs.map((run) => run[column])))]))
      : { missing };
  console.table(Object.fromEntries(Object.entries(figures).map(([name, row]) => [name, middle(row)])));
  console.table(targets);
}
