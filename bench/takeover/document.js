/** docs/benchmarks-takeover.md and its plot. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';
import { machine } from '../machine.js';
import { bars } from '../plot.js';
import { rounded, table, targetsTable } from '../tables.js';
import { CLIENTS, FIRST, IDLE, middle, PAUSE, WEB_SOCKETS } from './measure.js';

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
  const tables = [waysTable(figures), movedTable(figures), firstTable(figures), costTable(figures)];
  return [...tables, targetsTable(targets)].join('\n\n');
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

**The 99th percentile.** A server is replaced in less than a second, so that a few dozen slow answers are more than a
hundredth of all. Most of them are the old process's, when it hands over its listeners and its first connections: it
runs that code for the first time. The others are the new process's, whose code is not compiled yet either:
[see below](#the-first-requests) what its first requests cost, with takeover and without. So connections move slowly at
first, one in ten milliseconds, and then faster.

**Connections that move, and turns of the event loop.** Each process lets its event loop turn after 4 ms of work. The
longer turns are collections of garbage, because the new process makes all objects of Node's for each connection, and
the wait for one of the cores that both processes share with the clients. A WebSocket takes longer than a connection of
HTTP: the program of the new process gets its request, and the program of the old one is told that it ends.

## A server that is replaced under load

${CLIENTS} clients ask over connections that they keep. After an answer each waits between ${PAUSE / 2} and ${PAUSE * 1.5} ms, at random, so that
they do not ask in step: somebody asks about every ${rounded(PAUSE / CLIENTS)} ms. They first ask for a while at rest. Then the server is replaced, once: the window ends when the new process serves and the old one has ended.

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

## The first requests

CPU time of the main thread from the end of one request to the end of the next, with the same ${CLIENTS} clients. "Alone" is a
process that was just started, and to which the clients connect. The other has taken over from one that had them: to go
on with their connections is part of this.

${firstTable(figures)}

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

function firstTable({ first }) {
  const rows = FIRST.map(([from, to], i) => [
    from === to ? `${from}` : `${from} to ${to}`,
    ms(middle(first, ({ plain }) => plain[i])),
    ms(middle(first, ({ successor }) => successor[i])),
  ]);
  return table(['requests', 'alone', 'with takeover'], rows);
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
