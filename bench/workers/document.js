/** docs/benchmarks-workers.md. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';
import { machine } from '../machine.js';
import { bytes, microseconds, milliseconds, rounded, table, targetsTable } from '../tables.js';
import { CLIENTS, CONNECTIONS, MODES, WAITING, WORKERS } from './measure.js';

const file = fileURLToPath(new URL('../../docs/benchmarks-workers.md', import.meta.url));
const count = (value) => Math.round(value).toLocaleString('en');

export async function writeWorkersDocument(figures, targets, rounds) {
  const options = await prettier.resolveConfig(file);
  writeFileSync(file, await prettier.format(document(figures, targets, rounds), { ...options, parser: 'markdown' }));
}

/** The figures alone. */
export function workersTables(figures, targets) {
  return [figuresTable(figures), targetsTable(targets)].join('\n\n');
}

function document(figures, targets, rounds) {
  const { cores, arch, linux, node } = machine();
  return `# Benchmarks of workers

\`npm run bench -- --only workers\` measures all of this and writes this document. \`npm run bench\` does it too. To change
the text, change it in \`bench/workers/\`. This run: ${cores} cores, ${arch}, Linux ${linux}, Node ${node}. Every figure is the
median of ${rounds} runs, in which the three take turns.

## Targets

${targetsTable(targets)}

**Processor time.** More than half of the supervisor's is the kernel's: it accepts each connection, asks before it
closes its own descriptor of it, closes that, and sends about a dozen by one call. This part alone is about as much as
the target allows for all.

**The 99th percentile.** Clients, workers and the supervisor share the cores, so it follows the processor time that a
request takes of all of them. With SCHED_NONE nothing is handed over. With the other two it is about the same.

## Beside node:cluster

${figuresTable(figures)}

${WORKERS} workers run the same server of \`node:http\`, which answers with its pid. ${CLIENTS} clients ask at a time, and they share
the cores with the servers.

- **New connections**: ${count(CONNECTIONS)} requests, each over a connection of its own. The 99th percentile is from \`connect\`
  to the end of the answer.
- **Processor time** is that of the process that accepts and hands over, for each connection, and how much of it is the
  kernel's. With SCHED_NONE the workers accept by themselves, so that it does nothing.
- **Requests over kept connections**: ${count(CONNECTIONS)} requests over ${CLIENTS} connections. Nothing is handed over meanwhile.
- **Memory of one that waits**: ${count(WAITING)} clients connect while all workers are stopped. It is what the process
  that accepts grows by, for each. SCHED_RR accepts them all. The supervisor accepts as many as its workers may have
  unconfirmed (${64 * WORKERS}), and the rest wait in the kernel's backlog, as all do with SCHED_NONE. The kernel's own memory is
  not in it.
`;
}

function figuresTable(figures) {
  const head = ['', 'new connections per second', 'processor time', 'of the kernel', '99th percentile'];
  const rows = Object.entries(MODES).map(([mode, title]) => {
    const { rate, cpu, system, p99, most, kept, waiting } = figures[mode];
    const [all, kernel] = [cpu, system].map((value) => microseconds(value * 1000));
    const share = `${rounded(most * 100)} %`;
    return [title, count(rate), all, kernel, milliseconds(p99 * 1e6), share, count(kept), bytes(waiting)];
  });
  const more = ['share of the busier worker', 'requests per second over kept connections', 'memory of one that waits'];
  return table([...head, ...more], rows);
}
