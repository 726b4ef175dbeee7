/**
 * Passes a million messages over each of FdPasser, FdChannel and FdStream, and fails if the memory of a side grows.
 *
 *   npm run memory
 *
 * It writes docs/memory.svg.
 */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPair } from '../bench/pair.js';
import { column, lines } from '../bench/plot.js';
import { median } from '../bench/statistics.js';
import { table } from '../bench/tables.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const MESSAGES = 1_000_000;
const SAMPLES = 50;
const TENTH = SAMPLES / 10;
const WIRES = { passer: 'FdPasser', channel: 'FdChannel', stream: 'FdStream' };
const SIDES = ['sender', 'receiver'];
const MEASURES = { heap: 'JavaScript heap in use', rss: 'Resident memory' };

/** A fixed size of V8's space for new objects, in MiB. It would otherwise grow in steps under load. */
const YOUNG = ['--min-semi-space-size=4', '--max-semi-space-size=4'];

/**
 * The most that the last tenth may have, by what the second had, in MiB. In the first, code is compiled and pools fill.
 */
const bound = (before) => before * 1.1 + 4;

async function measure(wire) {
  const side = (role) => [process.execPath, '--expose-gc', ...YOUNG, join(root, 'bench/sides/memory.js'), wire, role];
  const pair = startPair({ send: side('send'), receive: side('receive') });
  const samples = [];
  while (samples.length < SAMPLES) samples.push(await pair.run(MESSAGES / SAMPLES));
  await pair.end();
  return Object.keys(MEASURES).flatMap((measure) =>
    SIDES.map((side) => ({
      measure,
      name: `${WIRES[wire]}, ${side}`,
      values: samples.map((sample) => sample[side].more[measure]),
    })),
  );
}

const series = [];
for (const wire of Object.keys(WIRES)) series.push(...(await measure(wire)));

const mebibytes = (value) => value.toFixed(1);
const rows = series.map(({ measure, name, values }) => {
  const before = median(values.slice(TENTH, 2 * TENTH));
  const after = median(values.slice(-TENTH));
  const grows = after > bound(before);
  if (grows) process.exitCode = 1;
  return [`${name}: ${MEASURES[measure]}`, ...[before, after, bound(before)].map(mebibytes), grows ? 'grows' : 'flat'];
});
console.log(table(['MiB, medians', 'second tenth', 'last tenth', 'at most', ''], rows));

const places = Array.from({ length: SAMPLES }, (_, i) =>
  (i + 1) % TENTH === 0 ? (((i + 1) * MESSAGES) / SAMPLES / 1000).toLocaleString('en') : '',
);
const plots = Object.entries(MEASURES).map(([measure, title]) =>
  lines({
    title,
    across: 'messages passed, in thousands',
    upright: 'MiB',
    places,
    series: series.filter((one) => one.measure === measure),
    write: String,
  }),
);
writeFileSync(join(root, 'docs/memory.svg'), column(plots));
