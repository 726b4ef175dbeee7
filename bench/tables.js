/** The figures as tables in Markdown, for the terminal and for the document. */
import { median } from './statistics.js';

const MISSING = '–';

/** The median of one figure over the rounds. */
export function middle({ runs }, of) {
  return median(runs.map(of));
}

/** Rows whose pairs pass as much as they can, and those that could not be measured. */
export function figuresTable(figures) {
  const head = ['', 'per second', 'CPU of sender', 'of receiver', 'memory of sender', 'of receiver', 'instructions'];
  const cells = Object.values(figures)
    .filter(({ fresh }) => !fresh)
    .map((row) => {
      if (row.missing !== undefined) return [row.title, row.missing, ...Array(head.length - 2).fill(MISSING)];
      return [
        row.title,
        speed(row),
        nanoseconds(middle(row, (run) => run.sendCpu)),
        nanoseconds(middle(row, (run) => run.receiveCpu)),
        mebibytes(middle(row, (run) => run.sendPeak)),
        mebibytes(middle(row, (run) => run.receivePeak)),
        row.instructions === undefined
          ? MISSING
          : `${rounded(row.instructions.send)} + ${rounded(row.instructions.receive)}`,
      ];
    });
  return table(head, cells);
}

/** The other rows, each with what it is about. */
export function othersTable(figures) {
  const cells = Object.entries(OTHERS)
    .filter(([name]) => figures[name] !== undefined)
    .map(([name, of]) => [figures[name].title, of((one) => middle(figures[name], one))]);
  return table(['', 'median'], cells);
}

const OTHERS = {
  'c-growth': (middle) => `longest receive ${milliseconds(middle((run) => run.worst))}`,
  'passer-growth': (middle) => `longest turn ${milliseconds(middle((run) => run.worst))}`,
  'passer-growth-warm': (middle) => `longest turn ${milliseconds(middle((run) => run.worst))}`,
  heap: (middle) => `${bytes(middle((run) => run.each))} of heap each`,
  idle: (middle) =>
    `${bytes(middle((run) => run.heap))} of heap and ${bytes(middle((run) => run.native))} of other memory each, ` +
    `${middle((run) => run.with)} wake-ups (${middle((run) => run.without)} before there were any)`,
  cold: (middle) => `${milliseconds(middle((run) => run.over))} more than an empty script`,
};

export function targetsTable(targets) {
  return table(
    ['', 'target', 'measured', ''],
    targets.map(({ what, target, measured, met }) => [
      what,
      target,
      measured ?? MISSING,
      met === undefined ? 'not measured' : met ? 'met' : '**not met**',
    ]),
  );
}

/** In Markdown, its columns as wide as their widest cells. */
export function table(head, rows) {
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((row) => row[column].length)));
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function speed(row) {
  const rate = middle(row, (run) => run.rate);
  const bytes = row.bytes === undefined ? '' : ` (${rounded((rate * row.bytes) / 2 ** 20)} MiB)`;
  return rounded(rate) + bytes;
}

export function milliseconds(value) {
  return `${(value / 1e6).toFixed(1)} ms`;
}

export function bytes(value) {
  return `${Math.round(value)} bytes`;
}

export function nanoseconds(value) {
  return `${rounded(value)} ns`;
}

function mebibytes(value) {
  return `${(value / 2 ** 20).toFixed(0)} MiB`;
}

/** To three digits: the rest would differ the next time. */
export function rounded(value) {
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 3 });
}
