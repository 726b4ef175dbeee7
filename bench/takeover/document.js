/** docs/benchmarks-takeover.md and its plot. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';
import { machine } from '../machine.js';
import { bars } from '../plot.js';
import { rounded, table, targetsTable } from '../tables.js';
import { CLIENTS, IDLE, middle, PAUSE, WEB_SOCKETS } from './measure.js';

const inDocs = (name) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
const ms = (value) => `${rounded(value)} ms`;
const mebibytes = (value) => `${rounded(value / 2 ** 20)} MiB`;
const count = (value) => Math.round(value).toLocaleString('en');

export async function writeTakeoverDocument(figures, targets, rounds) {
  writeFileSync(inDocs('benchmarks-takeover.svg'), plot(figures));
  const options = await prettier.resolveConfig(inDocs('benchmarks-takeover.md'));
  const text = await prettier.format(document(figures, targets, rounds), { ...options, parser: 'markdown' });
  writeFileSync(inDocs('benchmarks-takeover.md'), text);
}

/** The figures alone. */
export function takeoverTables(figures, targets) {
  return [waysTable(figures), movedTable(figures), costTable(figures), targetsTable(targets)].join('\n\n');
}

function document(figures, targets, rounds) {
  const { cores, arch, linux, node } = machine();
  return `# Benchmarks of takeover

\`npm run bench -- --only takeover\` measures all of this and writes this document and its plot. \`npm run bench\` does it
too. To change the text, change it in \`bench/takeover/\`. This run: ${cores} cores, ${arch}, Linux ${linux}, Node ${node}.
Every figure is the median of ${rounds} runs.

The figures depend on what else the machine does: clients, the old process and the one that starts share its cores.

## Targets

${targetsTable(targets)}

**The 99th percentile.** The process that has just started runs code that is not compiled yet, and answers each client's
first request more slowly. A server is replaced in less than a second, so that these requests are more than a hundredth
of all.

**Connections that move, and turns of the event loop.** The new process makes an object of Node's for each connection,
and confirms each by itself. The longest turns are collections of garbage, and the wait for one of the cores that both
processes share with the clients.

## A server that is replaced under load

${CLIENTS} clients ask over connections that they keep, and each waits ${PAUSE} ms after an answer. They first ask for a while
at rest. Then the server is replaced, once: the window ends when the new process serves and the old one has ended.

${waysTable(figures)}

![Longest time without any answer](benchmarks-takeover.svg)

- **Longest time without any answer**: no client of all has an answer for so long.
- **Errors**: requests that got no answer. **Connections made anew**: those that the server closed, or asked to close.
- All ways run \`bench/takeover/app.cjs\`, a server of \`node:http\` that calls \`close()\` at SIGINT and SIGTERM. With
  \`register\` the probation is 200 ms. With \`node:cluster\` and pm2 there is one worker: the new one listens before the old
  one is told to end. The last way tells the old process to end, and starts the new one afterwards.
- The second row is what starting a process on this machine costs those who are served beside it: no way can do better
  than that.

## Connections that move

They are idle, and have asked once before. The time is that of the old process, from the end of the probation until it
has drained. The new one's CPU time also has what lies before that, from the moment that it serves. Memory is the
highest that the process ever had (VmHWM). A turn of the event loop is what \`monitorEventLoopDelay\` reports at most.
"Kept" are the clients that the new process then answered over the connection that they had.

${movedTable(figures)}

With the other ways none of them is kept.

## At rest

Requests per second of one process that \`register\` has prepared, and of one without, in turn. Clients do not wait here.

${costTable(figures)}
`;
}

function waysTable({ replaced }) {
  const head = ['', 'longest time without any answer', 'at rest', '99th percentile', 'at rest', 'errors', 'made anew'];
  const rows = Object.values(replaced).map(({ title, missing, runs }) => {
    if (missing !== undefined) return [title, missing, ...Array(head.length - 2).fill('–')];
    const of = (take) => middle(runs, take);
    return [
      title,
      ms(of(({ upgrade }) => upgrade.gap)),
      ms(of(({ rest }) => rest.gap)),
      ms(of(({ upgrade }) => upgrade.p99)),
      ms(of(({ rest }) => rest.p99)),
      `${count(of(({ upgrade }) => upgrade.errors))} of ${count(of(({ upgrade }) => upgrade.answers))}`,
      `${count(of(({ upgrade }) => upgrade.reconnects))} of ${CLIENTS}`,
    ];
  });
  return table(head, rows);
}

function movedTable({ moved }) {
  const head = ['', 'kept', 'time', 'CPU of the old', 'of the new', 'longest turn of the old', 'of the new'];
  const row = (title, runs) => {
    const of = (take) => middle(runs, take);
    return [
      title,
      count(of(({ kept }) => kept)),
      ms(of(({ old }) => old.took)),
      ms(of(({ old }) => old.cpu)),
      ms(of(({ heir }) => heir.cpu)),
      ms(of(({ old }) => old.tick)),
      ms(of(({ heir }) => heir.tick)),
      mebibytes(of(({ old }) => old.memory)),
      mebibytes(of(({ heir }) => heir.memory)),
    ];
  };
  const titles = [`${count(IDLE)} keep-alive connections`, `${count(WEB_SOCKETS)} WebSockets`];
  return table(
    [...head, 'memory of the old', 'of the new'],
    [row(titles[0], moved.idle), row(titles[1], moved.webSockets)],
  );
}

function costTable({ cost }) {
  const row = (title, name) => [
    title,
    count(middle(cost, (run) => run[name].rate)),
    `${rounded(middle(cost, (run) => run[name].cpu))} µs`,
  ];
  return table(
    ['', 'requests per second', 'CPU of each'],
    [row('without', 'plain'), row('with `register`', 'register')],
  );
}

function plot({ replaced }) {
  const rows = Object.values(replaced).filter(({ missing }) => missing === undefined);
  return bars({
    title: 'Longest time without any answer, in milliseconds',
    parts: ['at rest', 'more while it is replaced'],
    rows: rows.map(({ title, runs }) => {
      const rest = middle(runs, ({ rest }) => rest.gap);
      const whole = middle(runs, ({ upgrade }) => upgrade.gap);
      return { name: title.replaceAll('`', ''), values: [rest, Math.max(0, whole - rest)] };
    }),
    write: (value) => `${rounded(value)} ms`,
  });
}
