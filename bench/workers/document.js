/** docs/benchmarks-workers.md. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';
import { machine } from '../machine.js';
import { bytes, microseconds, milliseconds, rounded, table, targetsTable } from '../tables.js';
import { CLIENTS, COUNT, MODES, WAITING, WORKERS } from './measure.js';

const file = fileURLToPath(new URL('../../docs/benchmarks-workers.md', import.meta.url));
const count = (value) => Math.round(value).toLocaleString('en');

export async function writeWorkersDocument(figures, targets, rounds) {
  const options = await prettier.resolveConfig(file);
  writeFileSync(file, await prettier.format(document(figures, targets, rounds), { ...options, parser: 'markdown' }));
}

/** The figures alone. */
export function workersTables(figures, targets) {
  const loads = Object.keys(CLIENTS).map((load) => newTable(figures, load));
  return [...loads, keptTable(figures), targetsTable(targets)].join('\n\n');
}

function document(figures, targets, rounds) {
  const { cores, arch, linux, node } = machine();
  return `# Benchmarks of workers

\`npm run bench -- --only workers\` measures all of this and writes this document. \`npm run bench\` does it too. To change
the text, change it in \`bench/workers/\`. This run: ${cores} cores, ${arch}, Linux ${linux}, Node ${node}. Every figure is the
median of ${rounds} runs, in which the three take turns.

## Targets

${targetsTable(targets)}

**Processor time.** Half of the supervisor's and more is the kernel's: it accepts each connection, asks before it closes
its own descriptor of it, and closes that. The rest is for each turn of the event loop, in which it accepts all that
have come, sends them by one call to each worker, and hears that they are taken. So with more clients it is less for
each connection.

**The 99th percentile.** Clients, workers and the supervisor share the cores, so it follows the processor time that a
request takes of all of them. With SCHED_NONE nothing is handed over.

## Beside node:cluster

${WORKERS} workers run the same server of \`node:http\`, which answers with its pid. Clients share the cores with the servers.

${CLIENTS.few} clients ask at a time:

${newTable(figures, 'few')}

${CLIENTS.many} clients ask at a time:

${newTable(figures, 'many')}

- **New connections**: ${count(COUNT)} requests, each over a connection of its own. The 99th percentile is from \`connect\` to
  the end of the answer.
- **Processor time** is that of the process that accepts and hands over, for each connection, and how much of it is the
  kernel's. With SCHED_NONE the workers accept by themselves, so that it does nothing.

${keptTable(figures)}

- **Requests over kept connections**: ${count(COUNT)} requests over ${CLIENTS.few} connections. Nothing is handed over meanwhile.
- **Memory of one that waits**: ${count(WAITING)} clients connect while all workers are stopped. It is what the process
  that accepts grows by, for each. SCHED_RR accepts them all. The supervisor accepts as many as its workers may have
  unconfirmed (${64 * WORKERS}), and the rest wait in the kernel's backlog, as all do with SCHED_NONE. The kernel's own memory is
  not in it.
`;
}

function newTable(figures, load) {
  const head = ['', 'new connections per second', 'processor time', 'of the kernel', '99th percentile'];
  const rows = Object.entries(MODES).map(([mode, title]) => {
    const { rate, cpu, system, p99, most } = figures[mode][load];
    const [all, kernel] = [cpu, system].map((value) => microseconds(value * 1000));
    return [title, count(rate), all, kernel, milliseconds(p99 * 1e6), `${rounded(most * 100)} %`];
  });
  return table([...head, 'share of the busier worker'], rows);
}

function keptTable(figures) {
  const rows = Object.entries(MODES).map(([mode, title]) => {
    const { kept, waiting } = figures[mode];
    return [title, count(kept), bytes(waiting)];
  });
  return table(['', 'requests per second over kept connections', 'memory of one that waits'], rows);
}
