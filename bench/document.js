/** Writes docs/benchmarks.md and its plots from the figures. */
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

\`npm run bench\` measures all of this and writes this document and its plots. To change the text, change it in
\`bench/\`. This run: ${cores} cores, ${arch}, Linux ${linux}, Node ${node}. Other machines give other figures. The
ratios change less, so the targets are ratios.

## Targets

${targetsTable(targets)}
${limits(targets)}
## How it is measured

Each row is a pair of processes with an AF_UNIX stream socket between them, its buffers as the system makes them. One
sends, the other receives and closes. Nothing is pinned to a core. All pairs stay alive for the whole run. They pass
descriptors in turn, row after row, each pair for about a seventh of a second. This is repeated ${rounds} times. A first
round is not counted, because JavaScript is compiled in it. A figure is the median of its rounds. A ratio is taken in
each round, from runs that followed each other, and its figure is the median of these ratios. So it can differ from the
quotient of two figures in the table.

The speed is measured from the moment the sender begins until the receiver has closed the last descriptor. CPU time is
user and system time of all threads of one side, for each descriptor, or each write where a write has bytes. Memory is
the highest that the process ever had (VmHWM). Instructions are those in user space, of the sender and the receiver,
counted by Valgrind where it is installed. V8 runs without other threads there, and has compiled the code before. These
counts do not vary, and do not include the kernel's work.

- **C** is \`bench/ceiling.c\`: non-blocking, with epoll, one plain \`sendmsg\` or \`recvmsg\` a message. It calls epoll
  only when there is nothing to do. This is the most that the kernel allows. It takes no care: this
  receiver would lose descriptors when its table is full.
- **C with the same care** peeks at up to 64 messages, or 1024 descriptors, with \`MSG_PEEK\`, takes them without their
  descriptors, and asks \`SO_LINGER\` before each close. So it loses nothing, and no peer can delay it.
- **FdPasser** sends by \`pushSendFh(fd, { keepOpen: true })\`. It keeps 1024 pushed, or 64 messages where that is more,
  and pushes the same number again when the last was sent. It receives by \`pushRecvFh\`, up to 4096 pushed, with a
  callback that closes the OwnedFd. Received in bulk, \`receiveMany\` gives up to 1024 at a time, and
  \`OwnedFd.closeAll\` closes them.
- **FdChannel** has 256 sends under way, each a value that is 100 bytes of JSON and one descriptor, and awaits one
  \`receive()\` after the other.
- **FdStream** and \`net.Socket\` are written to until \`write\` returns false, then again after \`'drain'\`. They are
  read by \`'data'\` and \`'fds'\`.
- **There and back**: one side sends a descriptor, the other sends back what it received and closes its own, and so on,
  one at a time.
- **net.Socket, one byte there and back** is the time that Node's event loop takes for this, without any descriptor.
- **process.send(message, handle)** has 64 messages under way. It cannot pass a device, so it passes a socket.
  The sender keeps it open, and the receiver destroys its \`net.Socket\`.
- **Python** and **Perl** make blocking calls, one for each message.
- **usocket** writes one byte and one descriptor, and the next when the first was taken. It is installed only to be
  measured.

All but \`process.send\` pass \`/dev/null\`, which stays open at the sender.

| command                                   |                                                            |
| ----------------------------------------- | ---------------------------------------------------------- |
| \`npm run bench\`                           | all; about ten minutes on a machine that does nothing else |
| \`npm run --silent bench -- --json\`        | the figures alone, on standard output; writes no document  |
| \`npm run bench -- --only c-1,passer-1\`    | rows whose names are, or begin with, these                 |
| \`npm run bench -- --only takeover\`       | the figures of [takeover](benchmarks-takeover.md)          |
| \`npm run bench -- --quick\`                | checks that it works, not how fast it is                       |

How much the ratios vary: in four runs one after the other,
\`npm run bench -- --only c-1,passer-1,net-bytes,stream-bytes,channel,c-4k,stream-4k\` gave 0.68 to 0.74 for FdPasser, one per message, 0.44 to
0.59 for FdChannel, 0.64 to 0.98 for FdStream without descriptors, 0.46 to 0.68 with them, and 1.17 to 1.26 for the CPU
time of FdPasser.

## Passing

${figuresTable(figures)}

![Descriptors per second by how many a message carries](benchmarks-speed.svg)

![CPU time for each descriptor](benchmarks-cpu.svg)

## Where the receiver's time goes

By \`perf record -e cpu-clock -p PID\` on the receiving process of a row, then \`perf report --sort dso\`. This was run
by hand; the figures are percentages.

${profileTable}

## There and back

![Round trip times](benchmarks-trips.svg)

${tripsTable(figures)}

## Long queues

Each message has 253 descriptors. The given number is pushed at once, and pushed again when all were sent.

![Cost by queue length](benchmarks-queues.svg)

## Growing tables, idle passers, cold starts

New processes for each run.

${othersTable(figures)}

- **Kept open**: the receiver keeps what it gets, while two files at a time are opened and closed by the thread pool. A
  turn of the event loop is what lies between two calls of \`setImmediate\`. In C, with one more thread that sleeps, it
  is the longest time that one message took: for so long the growth of the descriptor table stops a program that does
  not prevent it.
- **Queued at once**: the growth of used heap and external memory, each after a garbage collection, by that many
  \`pushSendFh\`.
- **Idle**: the other ends of the passers are open in another process. Memory outside the heap is resident memory that
  is not V8's. Wake-ups are voluntary context switches of all threads in half a second, while one timer is pending.
- **Import**: a process that imports the library, passes one descriptor to itself and ends, compared with a process that
  runs an empty script, in turn.
`;
}

const profileTable = table(
  ['', 'kernel', 'Node', 'compiled JavaScript', 'C library', 'the core'],
  [
    ['FdPasser, 1 per message', '89', '4', '3', '3', '1'],
    ['FdPasser, 253 per message', '62', '11', '11', '10', '5'],
  ],
);

/** What limits the targets that were not met, where it is known. Targets with the same reason are listed together. */
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

/** The rows in the plot of CPU time. `process.send` is left out: its bars would be too long. */
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
