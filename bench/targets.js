/** What the figures should come to. Each target compares rows of one run, so that a slower machine changes little. */
import { median } from './statistics.js';
import { bytes, milliseconds } from './tables.js';

const times = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0));

/**
 * `rows` are what a target needs, and `of` takes it from their runs: one of each, or all where `over` says so. What is
 * given is the median over the rounds. `show` is how to write it. A target may have `limited`, which says for the document
 * what limits it while it is not met.
 */
export const targets = [
  atLeast(0.9, 'FdPasser, one per message, against C', speed('passer-1', 'c-1')),
  atLeast(0.6, 'FdPasser, 253 per message, against C', speed('passer-253', 'c-253')),
  atLeast(0.85, 'the same, received in bulk', speed('passer-many-253', 'c-253')),
  atLeast(0.5, 'FdChannel, 100 bytes of JSON, against C one per message', speed('channel', 'c-1')),
  atLeast(0.8, 'FdStream, 64 KiB without descriptors, against net.Socket', speed('stream-bytes', 'net-bytes')),
  atLeast(0.7, 'FdStream, 4 KiB and a descriptor, against C', speed('stream-4k', 'c-4k')),
  atMost(
    1.4,
    'round trip, median, against C',
    ratio('passer-trip', 'c-trip', (run) => run.trips[50]),
  ),
  atMost(
    3,
    'round trip, 99th percentile, against C',
    ratio('passer-trip', 'c-trip', (run) => run.trips[99]),
  ),
  atLeast(80, 'FdPasser, one per message, against process.send(message, handle)', speed('passer-1', 'ipc')),
  atLeast(400, 'FdPasser, 253 per message, against process.send(message, handle)', speed('passer-253', 'ipc')),
  atMost(1.5, 'CPU of both sides, one per message, against C', ratio('passer-1', 'c-1', cpu)),
  atMost(1.5, 'CPU of both sides, 253 per message, against C', ratio('passer-253', 'c-253', cpu)),
  atMost(1.5, 'the same, received in bulk', ratio('passer-many-253', 'c-253', cpu)),
  atMost(2e6, 'longest turn of the event loop while 18,000 descriptors come', {
    rows: ['passer-growth'],
    of: ({ worst }) => worst,
    show: milliseconds,
  }),
  atMost(100, 'heap of each of 1,000,000 queued', { rows: ['heap'], of: ({ each }) => each, show: bytes }),
  atMost(
    1.25,
    "sender's CPU of each, 1,000,000 queued against 1,000",
    ratio('queue-1000000', 'queue-1000', ({ sendCpu }) => sendCpu),
  ),
  atMost(1, 'descriptors of each of 10,000 idle passers', {
    rows: ['idle'],
    of: (run) => run.descriptors,
    show: times,
  }),
  atMost(2048, 'memory of each', { rows: ['idle'], of: ({ heap, native }) => heap + native, show: bytes }),
  atMost(2, 'wake-ups in half a second that all of them add', {
    rows: ['idle'],
    of: (run) => run.with - run.without,
    show: (value) => value.toFixed(0),
  }),
  atMost(15e6, 'import and first descriptor, over an empty script', {
    rows: ['cold'],
    of: ({ over }) => over,
    show: milliseconds,
  }),
];

function cpu({ sendCpu, receiveCpu }) {
  return sendCpu + receiveCpu;
}

function ratio(one, other, of) {
  return { rows: [one, other], of: (a, b) => of(a) / of(b), show: times };
}

function speed(one, other) {
  return ratio(one, other, ({ rate }) => rate);
}

function atLeast(least, what, measure) {
  return { what, ...measure, sign: 'at least', limit: least, meets: (value) => value >= least };
}

function atMost(most, what, measure) {
  return { what, ...measure, sign: 'at most', limit: most, meets: (value) => value <= most };
}

/** The targets whose rows were measured. */
export function judge(figures) {
  return targets
    .filter(({ rows }) => rows.every((name) => figures[name] !== undefined))
    .map(({ what, rows, of, show, sign, limit, meets, limited }) => {
      const target = `${sign} ${show(limit)}`;
      const runs = rows.map((name) => figures[name].runs);
      if (runs.includes(undefined)) return { what, target };
      const value = median(runs[0].map((_, round) => of(...runs.map((of) => of[round]))));
      return { what, target, value, measured: show(value), met: meets(value), limited };
    });
}
