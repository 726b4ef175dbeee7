/** docs/benchmarks.md and its plots, from the figures. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';
import { machine } from './machine.js';
import { bars, lines } from './plot.js';
import { BATCHES, QUEUES } from './rows.js';
import { median } from './statistics.js';
import { figuresTable, nanoseconds, othersTable, rounded, table, targetsTable } from './tables.js';

const inDocs = (name) => fileURLToPath(new URL(`../docs/${name}`, import.meta.url));

export async function writeDocument(figures, targets, rounds) {
  for (const [name, plot] of Object.entries(plots(figures))) writeFileSync(inDocs(`benchmarks-${name}.svg`), plot);
  const options = await prettier.resolveConfig(inDocs('benchmarks.md'));
  const text = await prettier.format(document(figures, targets, rounds), { ...options, parser: 'markdown' });
  writeFileSync(inDocs('benchmarks.md'), text);
}

function document(figures, targets, rounds) {
  const { cores, arch, linux, node } = machine();
  return `# Benchmarks

\`npm run bench\` measures all of this and writes this document and its plots. To change the text, change it in \`bench/\`.
This run: ${cores} cores, ${arch}, Linux ${linux}, Node ${node}. Other machines give other figures. The ratios change
less, so the targets are ratios.

## Targets

${targetsTable(targets)}
${limits(targets)}
## How it is measured

Each row is a pair of processes with an AF_UNIX stream socket between them, its buffers as the system makes them. One
sends, the other receives and closes. Nothing is pinned to a core. All pairs stay alive for the whole run. They pass some
descriptors in turn, each pair for about a seventh of a second, row after row; then again, ${rounds} times. A first round
is not counted, because JavaScript is compiled in it. A figure is the median of its rounds. A ratio is taken in each
round, of runs that followed each other, and its figure is the median too; so it need not be the quotient of two figures
in the table.

The speed counts from the moment the sender begins until the receiver has closed the last descriptor. CPU time is user
and system time of all threads of one side, for each descriptor, or each write where a write has bytes. Memory is the
highest that the process ever had (VmHWM). Instructions are those in user space, of the sender and the receiver, counted
by Valgrind where it is installed. V8 runs without other threads there, and had compiled before. They do not swing, and
they do not show what the kernel does.

- **C** is \`bench/ceiling.c\`: non-blocking, with epoll, one plain \`sendmsg\` or \`recvmsg\` a message. It calls epoll
  only when there is nothing to do. This is the most that the kernel allows. It takes no care: this receiver would lose descriptors when its table is full.
- **C with the same care** looks at up to 64 messages, or 1024 descriptors, with \`MSG_PEEK\`, takes them without their
  descriptors, and asks \`SO_LINGER\` before each close: so it loses nothing, and no peer can hold it up.
- **FdPasser** sends by \`pushSendFh(fd, { keepOpen: true })\`. It keeps 1024 pushed, or 64 messages where those are more,
  and pushes as many again when the last was sent. It receives by \`pushRecvFh\`, up to 4096 pushed, with a callback that
  closes the OwnedFd. Received in bulk, \`receiveMany\` gives up to 1024 at a time, and \`OwnedFd.closeAll\` closes them.
- **FdChannel** has 256 sends under way, each a value that is 100 bytes of JSON and one descriptor, and awaits one
  \`receive()\` after the other.
- **FdStream** and \`net.Socket\` are written to until they say that they are full, then again after \`'drain'\`. They are
  read by \`'data'\` and \`'fds'\`.
- **There and back**: one side sends a descriptor, the other sends back what it received and closes its own, and so on,
  one at a time.
- **net.Socket, one byte there and back** is what Node's event loop takes for that, without any descriptor.
- **process.send(message, handle)** has 64 under way. It passes no descriptor that is a device, so here it is a socket.
  The sender keeps it open, and the receiver destroys its \`net.Socket\`.
- **Python** and **Perl** block, one call a message.
- **usocket** writes one byte and one descriptor, and the next when that was taken. It is installed only to be measured.

All but \`process.send\` pass \`/dev/null\`, which stays open at the sender.

| command                                   |                                                            |
| ----------------------------------------- | ---------------------------------------------------------- |
| \`npm run bench\`                           | all; about six minutes on a machine that does nothing else |
| \`npm run --silent bench -- --json\`        | the figures alone, on standard output; writes no document  |
| \`npm run bench -- --only c-1,passer-1\`    | these rows, and those whose names begin so                 |
| \`npm run bench -- --quick\`                | whether it works, not how fast it is                       |

How much they swing: four times in a row, \`npm run bench -- --only c-1,passer-1,net-bytes,stream-bytes,channel,c-4k,stream-4k\`
gave 0.68 to 0.74 for FdPasser, one per message, 0.44 to 0.59 for FdChannel, 0.64 to 0.98 for FdStream without descriptors,
0.46 to 0.68 with them, and 1.17 to 1.26 for the CPU time of FdPasser.

## Passing

${figuresTable(figures)}

![Descriptors per second by how many a message carries](benchmarks-speed.svg)

![CPU time for each descriptor](benchmarks-cpu.svg)

## Where the receiver's time goes

By \`perf record -e cpu-clock -p PID\` on the receiving process of a row, and \`perf report --sort dso\`; taken by hand, in
percent.

${profileTable}

## There and back

![Round trip times](benchmarks-trips.svg)

${tripsTable(figures)}

## Long queues

Sent 253 in a message. So many are pushed at once, and as many again when they are gone.

![Cost by queue length](benchmarks-queues.svg)

## Growing tables, idle passers, cold starts

New processes for each run.

${othersTable(figures)}

- **Kept open**: the receiver keeps what it gets, while two files at a time are opened and closed by the thread pool. A
  turn of the event loop is what lies between two calls of \`setImmediate\`. In C, with one more thread that sleeps, it is
  the longest that one message took; so long the growth of the descriptor table stops a program that does not prevent it.
- **Queued at once**: used heap and external memory, after a collection, before and after as many \`pushSendFh\`.
- **Idle ones**: their other ends are open in another process. Memory outside the heap is resident memory that is not
  V8's. Wake-ups are voluntary context switches of all threads in half a second in which one timer is waited for.
- **Import**: a process that imports the library, passes one descriptor to itself and ends, and one that runs a script
  that does nothing, in turn.
`;
}

const profileTable = table(
  ['', 'kernel', 'Node', 'compiled JavaScript', 'C library', 'the core'],
  [
    ['FdPasser, 1 per message', '89', '4', '3', '3', '1'],
    ['FdPasser, 253 per message', '62', '11', '11', '10', '5'],
  ],
);

/** What limits the targets that were not met, where it is known; once where several have the same reason. */
function limits(targets) {
  const reasons = new Map();
  for (const { what, met, limited } of targets)
    if (met === false && limited !== undefined) reasons.set(limited, [...(reasons.get(limited) ?? []), what]);
  return [...reasons].map(([limited, whats]) => `\n**${whats.join('; ')}.** ${limited}\n`).join('');
}

function tripsTable(figures) {
  const rows = ['c-trip', 'net-trip', 'passer-trip'];
  const parts = Object.keys(figures[rows[0]].runs[0].trips).toSorted((a, b) => a - b);
  return table(
    ['percentile', ...rows.map((name) => figures[name].title)],
    parts.map((part) => [part, ...rows.map((name) => microseconds(trip(figures[name], part)))]),
  );
}

function trip(row, part) {
  return median(row.runs.map(({ trips }) => trips[part]));
}

function microseconds(value) {
  return `${rounded(value / 1000)} µs`;
}

function plots(figures) {
  const rate = (name) => figures[name]?.median?.rate;
  const cpu = (name) => ['sendCpu', 'receiveCpu'].map((side) => figures[name].median[side]);
  const parts = Object.keys(figures['c-trip'].runs[0].trips).toSorted((a, b) => a - b);
  return {
    speed: lines({
      title: 'Descriptors per second, by how many a message carries',
      across: 'descriptors per message',
      upright: 'descriptors per second',
      places: BATCHES,
      series: [
        { name: 'C', values: BATCHES.map((batch) => rate(`c-${batch}`)) },
        { name: 'FdPasser', values: BATCHES.map((batch) => rate(`passer-${batch}`)) },
        { name: 'FdPasser, in bulk', values: BATCHES.map((batch) => rate(`passer-many-${batch}`)) },
        { name: 'Python', values: BATCHES.map((batch) => rate(`python-${batch}`)) },
      ].filter(({ values }) => values.some((value) => value !== undefined)),
      write: (value) => `${rounded(value / 1e6)} M`,
    }),
    trips: lines({
      title: 'One descriptor there and back',
      across: 'percentile',
      upright: 'microseconds',
      places: parts,
      series: [
        { name: 'C', values: parts.map((part) => trip(figures['c-trip'], part) / 1000) },
        { name: 'net.Socket, one byte', values: parts.map((part) => trip(figures['net-trip'], part) / 1000) },
        { name: 'FdPasser', values: parts.map((part) => trip(figures['passer-trip'], part) / 1000) },
      ],
      write: rounded,
      logarithmic: true,
    }),
    cpu: bars({
      title: 'CPU time for each descriptor (process.send: see the table)',
      parts: ['sender', 'receiver'],
      rows: Object.entries(COMPARED)
        .filter(([name]) => figures[name].runs !== undefined)
        .map(([name, title]) => ({ name: title, values: cpu(name) })),
      write: nanoseconds,
    }),
    queues: lines({
      title: 'CPU time for each descriptor, by how many are queued at once',
      across: 'queued at once',
      upright: 'nanoseconds',
      places: QUEUES.map((queue) => queue.toLocaleString('en')),
      series: ['sender', 'receiver'].map((name, side) => ({
        name,
        values: QUEUES.map((queue) => cpu(`queue-${queue}`)[side]),
      })),
      write: rounded,
    }),
  };
}

/** The rows in the plot of CPU time; those of `process.send` would leave the others no room. */
const COMPARED = {
  'c-1': 'C, 1 per message',
  'care-1': 'C with the same care',
  'passer-1': 'FdPasser, 1 per message',
  perl: 'Perl, IO::FDPass',
  'python-1': 'Python, 1 per message',
  usocket: 'usocket',
  channel: 'FdChannel',
  'c-4k': 'C, with 4 KiB',
  'stream-4k': 'FdStream, with 4 KiB',
  'c-253': 'C, 253 per message',
  'care-253': 'C with the same care, 253',
  'passer-253': 'FdPasser, 253 per message',
  'passer-many-253': 'FdPasser, 253, in bulk',
  'python-253': 'Python, 253 per message',
};
