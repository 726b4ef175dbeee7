/**
 * Measures the rows of rows.js in turn, and reports which targets are met. It writes docs/benchmarks.md.
 *
 *   node bench/bench.js                    all, into docs/
 *   node bench/bench.js --json             the figures alone, on standard output
 *   node bench/bench.js --only c-1,passer  the rows that have, or begin with, these names; instructions are not counted
 *                                          unless "instructions" is among them
 *   node bench/bench.js --only takeover    what replacing a server costs, into docs/benchmarks-takeover.md
 *   node bench/bench.js --only workers     connections handed to workers, into docs/benchmarks-workers.md
 *   node bench/bench.js --quick            few and short runs: whether it works, not how fast it is
 */
import { parseArgs } from 'node:util';
import { buildCeiling } from './build.js';
import { writeDocument } from './document.js';
import { canCount, countInstructions } from './instructions.js';
import { machine } from './machine.js';
import { measure } from './measure.js';
import { groups, rows } from './rows.js';
import { figuresTable, othersTable, targetsTable, workTable } from './tables.js';
import { takeoverTables, writeTakeoverDocument } from './takeover/document.js';
import { measureTakeover } from './takeover/measure.js';
import { judgeTakeover } from './takeover/targets.js';
import { judge } from './targets.js';
import { installUsocket } from './usocket.js';
import { workersTables, writeWorkersDocument } from './workers/document.js';
import { measureWorkers } from './workers/measure.js';
import { judgeWorkers } from './workers/targets.js';

const { values: options } = parseArgs({
  options: { json: { type: 'boolean' }, only: { type: 'string' }, quick: { type: 'boolean' } },
});
const whole = options.only === undefined && !options.quick;
const rounds = options.quick ? 1 : 9;
const takeoverRounds = options.quick ? 1 : 5;
const workersRounds = options.quick ? 1 : 7;
const progress = (text) => process.stderr.write(`${text}\n`);

buildCeiling();
if (whole) installUsocket(progress);
const only = options.only?.split(',');
const isChosen = ({ name }) => only?.some((start) => name === start || name.startsWith(`${start}-`)) ?? true;
const chosen = groups.map((group) => group.filter(isChosen)).filter((group) => group.length > 0);
const figures = await measure(chosen, { rounds, share: options.quick ? 0.05 : 1, progress });
if (only?.includes('instructions') ?? whole)
  for (const { name } of chosen.flat().filter(({ instructions }) => instructions !== undefined))
    await addInstructions(name);
const targets = judge(figures);
const takeover = (only?.includes('takeover') ?? true) ? await measureAndJudgeTakeover() : undefined;
const workers = (only?.includes('workers') ?? true) ? await measureAndJudgeWorkers() : undefined;

if (options.json)
  console.log(JSON.stringify({ machine: machine(), rows: figures, targets, takeover, workers }, undefined, 2));
else {
  const tables = [workTable(figures), figuresTable(figures), othersTable(figures), targetsTable(targets)];
  if (takeover !== undefined) tables.push(takeoverTables(takeover.figures, takeover.targets));
  if (workers !== undefined) tables.push(workersTables(workers.figures, workers.targets));
  console.log(tables.filter(Boolean).join('\n\n'));
  if (whole) await writeDocument(figures, targets, rounds);
  if (takeover !== undefined && !options.quick)
    await writeTakeoverDocument(takeover.figures, takeover.targets, takeoverRounds);
  if (workers !== undefined && !options.quick)
    await writeWorkersDocument(workers.figures, workers.targets, workersRounds);
  if (options.quick) console.log('\nA quick run shows that all of this works. It says nothing about speed.');
}

async function measureAndJudgeTakeover() {
  const figures = await measureTakeover({ rounds: takeoverRounds, quick: options.quick === true, progress });
  return { figures, targets: judgeTakeover(figures) };
}

async function measureAndJudgeWorkers() {
  const figures = await measureWorkers({ rounds: workersRounds, quick: options.quick === true, progress });
  return { figures, targets: judgeWorkers(figures) };
}

async function addInstructions(name) {
  if (figures[name].missing !== undefined || !canCount()) return;
  progress(`counting instructions: ${name}`);
  const row = rows.find((row) => row.name === name);
  figures[name].instructions = await countInstructions(row, row.instructions);
}
