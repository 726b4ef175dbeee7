/** The figures as tables in Markdown, for the terminal and for the document. */
const MISSING = '–';

/** What programs do, as the first table of the document. */
export function workTable(figures) {
  return table(
    ['', 'per second', 'CPU of both sides'],
    rowsOf('work', figures).map((row) => [
      row.title,
      row.missing ?? speed(row),
      row.missing === undefined ? microseconds(row.median.sendCpu + row.median.receiveCpu) : MISSING,
    ]),
  );
}

/** Rows whose pairs pass as much as they can, and those that could not be measured. */
export function figuresTable(figures) {
  const head = ['', 'per second', 'CPU of sender', 'of receiver', 'memory of sender', 'of receiver', 'instructions'];
  const cells = rowsOf('passing', figures).map((row) => {
    if (row.missing !== undefined) return [row.title, row.missing, ...Array(head.length - 2).fill(MISSING)];
    return [
      row.title,
      speed(row),
      nanoseconds(row.median.sendCpu),
      nanoseconds(row.median.receiveCpu),
      mebibytes(row.median.sendPeak),
      mebibytes(row.median.receivePeak),
      row.instructions === undefined
        ? MISSING
        : `${rounded(row.instructions.send)} + ${rounded(row.instructions.receive)}`,
    ];
  });
  return table(head, cells);
}

function rowsOf(name, figures) {
  return Object.values(figures).filter((row) => row.table === name);
}

/** The other rows, each with what it is about. */
export function othersTable(figures) {
  const cells = Object.entries(OTHERS)
    .filter(([name]) => figures[name] !== undefined)
    .map(([name, of]) => [figures[name].title, of(figures[name].median)]);
  return table(['', 'median'], cells);
}

const OTHERS = {
  'c-growth': (median) => `longest receive ${milliseconds(median.worst)}`,
  'passer-growth': (median) => `longest turn ${milliseconds(median.worst)}`,
  'passer-growth-warm': (median) => `longest turn ${milliseconds(median.worst)}`,
  heap: (median) => `${bytes(median.each)} of heap each`,
  idle,
  'idle-channel': idle,
  'idle-stream': idle,
  cold: (median) => `${milliseconds(median.over)} more than an empty script`,
};

function idle(median) {
  return (
    `${bytes(median.heap)} of heap and ${bytes(median.native)} of other memory each, ` +
    `${median.with} wake-ups (${median.without} before there were any)`
  );
}

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

/** In Markdown, its columns as wide as their widest cells; nothing, when there are no rows. */
export function table(head, rows) {
  if (rows.length === 0) return '';
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((row) => row[column].length)));
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function speed(row) {
  const rate = row.median.rate;
  const bytes = row.bytes === undefined ? '' : ` (${rounded((rate * row.bytes) / 2 ** 20)} MiB)`;
  const lost = row.median.lost ? `, ${rounded(row.median.lost)} lost a run` : '';
  return rounded(rate) + bytes + lost;
}

export function milliseconds(value) {
  return `${(value / 1e6).toFixed(1)} ms`;
}

export function bytes(value) {
  return `${Math.round(value)} bytes`;
}

export function microseconds(value) {
  return `${rounded(value / 1000)} µs`;
}

export function nanoseconds(value) {
  return `${rounded(value)} ns`;
}

function mebibytes(value) {
  return `${rounded(value / 2 ** 20)} MiB`;
}

/** To three digits: the rest would differ the next time. */
export function rounded(value) {
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 3 });
}
