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
import { countInstructions, noInstructions } from './instructions.js';
import { measure } from './measure.js';
import { rows } from './rows.js';
import { figuresTable, othersTable, targetsTable } from './tables.js';
import { judge } from './targets.js';
import { installUsocket } from './usocket.js';

const { values: options } = parseArgs({
  options: { json: { type: 'boolean' }, only: { type: 'string' }, quick: { type: 'boolean' } },
});
const whole = options.only === undefined && !options.quick;
const progress = (text) => process.stderr.write(`${text}\n`);

buildCeiling();
if (whole) installUsocket(progress);
const only = options.only?.split(',');
const chosen = rows.filter(({ name }) => only?.some((start) => name === start || name.startsWith(`${start}-`)) ?? true);
const figures = await measure(chosen, { rounds: options.quick ? 1 : 9, share: options.quick ? 0.05 : 1, progress });
if (!options.quick && noInstructions() === undefined)
  for (const { name } of chosen.filter(({ instructions }) => instructions !== undefined)) await addInstructions(name);
const targets = judge(figures);

if (options.json) console.log(JSON.stringify({ rows: figures, targets }, undefined, 2));
else console.log([figuresTable(figures), othersTable(figures), targetsTable(targets)].join('\n\n'));

async function addInstructions(name) {
  if (figures[name].missing !== undefined) return;
  progress(`counting instructions: ${name}`);
  const row = rows.find((row) => row.name === name);
  figures[name].instructions = await countInstructions(row, row.instructions);
}
