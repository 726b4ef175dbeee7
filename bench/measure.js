import { startPair } from './pair.js';
import { median, percentile } from './statistics.js';

const PERCENTILES = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1];

/**
 * Runs the rows of a group in turn, group after group, each row with this share of its descriptors. Only the pairs of
 * one group are alive at a time: V8 collects the garbage of others in the background. The first round is not counted,
 * because code is compiled in it.
 */
export async function measure(groups, options) {
  const figures = {};
  for (const group of groups) Object.assign(figures, await measureGroup(group, options));
  return figures;
}

async function measureGroup(rows, { rounds, share, progress }) {
  const figures = {};
  const pairs = new Map();
  const measured = [];
  for (const row of rows) {
    const { name, title, table, bytes, fresh } = row;
    const missing = row.missing?.();
    figures[name] = missing === undefined ? { title, table, bytes, fresh, runs: [] } : { title, table, missing };
    if (missing !== undefined) continue;
    measured.push(row);
    if (row.send !== undefined && !row.fresh) pairs.set(row, startPair(row));
  }
  for (let round = 0; round <= rounds; round++) {
    progress(`${measured.map(({ name }) => name).join(', ')}: round ${round} of ${rounds}`);
    for (const row of measured) {
      const pair = pairs.get(row);
      if (round === 0 && pair === undefined) continue;
      const run = row.once?.() ?? (await passSome(row, Math.ceil(row.count * share), pair));
      if (round > 0) figures[row.name].runs.push(run);
    }
  }
  for (const pair of pairs.values()) await pair.end();
  for (const { name } of measured) figures[name].median = medians(figures[name].runs);
  return figures;
}

/** The median of each figure that is a number. Memory is the exception: the highest so far is that of the last run. */
function medians(runs) {
  const names = Object.keys(runs[0]).filter((name) => typeof runs[0][name] === 'number');
  const { sendPeak, receivePeak } = runs.at(-1);
  return {
    ...Object.fromEntries(names.map((name) => [name, median(runs.map((run) => run[name]))])),
    sendPeak,
    receivePeak,
  };
}

async function passSome(row, count, running) {
  const pair = running ?? startPair(row);
  const answers = await pair.run(count);
  if (running === undefined) await pair.end();
  return figure(count, answers);
}

/** The figures of one run. CPU is in nanoseconds for each descriptor, or write. */
function figure(count, { sender, receiver }) {
  const { trips, ...more } = { ...sender.more, ...receiver.more };
  return {
    rate: (count * 1e9) / (receiver.end - sender.begin),
    sendCpu: sender.cpu / count,
    receiveCpu: receiver.cpu / count,
    sendPeak: sender.peak,
    receivePeak: receiver.peak,
    ...more,
    ...(trips && { trips: Object.fromEntries(PERCENTILES.map((part) => [part * 100, percentile(trips, part)])) }),
  };
}
