/** Writes docs/benchmarks.md and its plots from the figures. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';
import { machine } from './machine.js';
import { bars, lines } from './plot.js';
import { BATCHES, QUEUES } from './rows.js';
import { median } from './statistics.js';
import {
  figuresTable,
  microseconds,
  nanoseconds,
  othersTable,
  rounded,
  table,
  targetsTable,
  workTable,
} from './tables.js';

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

## What programs do

${workTable(figures)}

A message is 100 bytes of JSON. 64 connections and calls, and 256 messages, are under way at a time. A passed connection
becomes a \`net.Socket\` in the other process, and stays open in the first. The last two rows have one message under
way on each of their connections. CPU is for each connection, call or message of both processes.

A server that is replaced while clients ask, with connections that move: see the
[benchmarks of takeover](benchmarks-takeover.md). Connections that are given to worker
processes, beside \`node:cluster\`: [benchmarks of workers](benchmarks-workers.md).

## Targets

${targetsTable(targets)}
${limits(targets)}
## How it is measured

Each row is a pair of processes with an AF_UNIX stream socket between them, its buffers as the system makes them. One
sends, the other receives and closes. Nothing is pinned to a core. Rows that are compared with one another pass
descriptors in turn, each pair for about a seventh of a second. This is repeated ${rounds} times, after a round that is
not counted, because JavaScript is compiled in it. Other pairs are not alive meanwhile: V8 goes on collecting their
garbage when they have nothing to do. A figure is the median of its rounds. A ratio is taken in each round, from runs
that followed each other, and its figure is the median of these ratios. So it can differ from the quotient of two
figures in a table.

The time runs from the moment the sender begins until the receiver has closed the last descriptor. CPU time is user and
system time of all threads of one side, for each descriptor, or each write where a write has bytes. Memory is the
highest that the process ever had (VmHWM). Instructions are those in user space, of the sender and the receiver, counted
by Valgrind where it is installed; V8 runs without other threads there.

- **C** is \`bench/ceiling.c\`: non-blocking, with epoll, one plain \`sendmsg\` or \`recvmsg\` a message. This is the
  most that the kernel allows. It takes no care: this receiver would lose descriptors when its table is full.
- **C with the same care** peeks at up to 64 messages, or 1024 descriptors, with \`MSG_PEEK\`, takes them without their
  descriptors, and asks before each close what the core asks (\`statx\`). So it loses nothing, and no close delays it.
  **And a thread**: one more thread sleeps meanwhile. Then each system call must count the uses of a descriptor. Every
  runtime of JavaScript has threads.
- **FdPasser** sends by \`pushSendFh(fd, { keepOpen: true })\`, 1024 at a time, or 64 messages where that is more. It
  receives by \`pushRecvFh\`, with a callback that closes the OwnedFd. Received in bulk, \`receiveMany\` gives up to
  1024 at a time, and \`OwnedFd.closeAll\` closes them.
- **FdStream** and \`net.Socket\` are written to until \`write\` returns false, then again after \`'drain'\`.
- **There and back**: one side sends a descriptor, the other sends back what it received and closes its own, and so on,
  one at a time. net.Socket sends a byte instead.
- **Python** and **Perl** make blocking calls, one for each message.
- **usocket** writes one byte and one descriptor, and the next when the first was taken. It is installed only to be
  measured.

All pass \`/dev/null\`, which stays open at the sender, except the rows that pass connections.

| command                                   |                                                                  |
| ----------------------------------------- | ---------------------------------------------------------------- |
| \`npm run bench\`                           | all; about a quarter of an hour on a machine that does nothing else |
| \`npm run --silent bench -- --json\`        | the figures alone, on standard output; writes no document        |
| \`npm run bench -- --only c-1,passer-1\`    | rows whose names are, or begin with, these                       |
| \`npm run bench -- --only takeover\`       | the figures of [takeover](benchmarks-takeover.md)                |
| \`npm run bench -- --only workers\`        | the figures of [workers](benchmarks-workers.md)                  |
| \`npm run bench -- --quick\`                | checks that it works, not how fast it is                         |

## Passing

${figuresTable(figures)}

![Descriptors per second by how many a message carries](benchmarks-speed.svg)

![CPU time for each descriptor](benchmarks-cpu.svg)

## Where the time goes

By \`perf record -e cpu-clock -p PID\` on one process of a row, then \`perf report --sort dso\`. This was run by hand,
on a busy machine; the figures are percentages.

${profileTable}

## System calls

What a system call takes differs most between machines: \`getppid\` took 1 µs on the virtual machine where these were
counted, and \`SO_LINGER\` 81 ns where the calls below were timed. So this is how many there are, for each descriptor,
trip or write: by \`perf stat -e 'syscalls:sys_enter_*'\` on one process of a row, eight runs less three.

${callsTable}

To close a received descriptor takes two, the question and the close. A trip over a channel takes a peek, a receive and
a send, where a net.Socket reads and writes. What an application has taken is told with the next message, and alone only
when none has gone for 200 ms. When the kernel has taken only a part, a link waits for room without asking again, and
goes on watching for room until that comes without need.

## Tried without success

What was measured, for targets that are not met, and not done. Each figure is the least of several thousand calls in a
process with two threads.

- **A cheaper question before a close.** \`statx\` takes 148 ns. \`SO_LINGER\` takes 81, and tells nothing of files.
  \`F_DUPFD_QUERY\` takes 99 and \`kcmp\` 399, and tell only whether two descriptors are one open file: that would help
  nobody but this benchmark, which sends one file again and again. No call answers for many descriptors.
- **Closing on a thread.** The number would still be in use when \`close()\` has returned. Beside a receiver in C it
  took 281 ns of CPU for each descriptor, instead of 267 where the receiver asks and closes itself.
- **Reading bytes of a stream without peeking at them**, as far as \`FIONREAD\` and the \`scm_fds\` of
  \`/proc/self/fdinfo\` say that no descriptor lies between. Asking takes 1.8 µs for up to 208 KiB, and the second copy
  of 64 KiB 1.6 µs. In three runs in turn the ratio to \`net.Socket\` was 0.71 to 0.74 with it, and 0.72 to 0.88
  without.
- **Fewer calls for each message of many channels**: one \`setImmediate\` for all that count what was taken, and a
  watch that goes on keeping the loop alive between two messages. In three runs in turn each, the ratio to
  \`net.Socket\` was 2.5 to 2.9 with them, and 2.4 to 2.7 without.
- **Closing many on a thread by one call, without a question.** Received in bulk, four fifths of the time are those of
  the question, and \`close_range\` takes a fortieth of a close. But the numbers would still be in use when \`closeAll\`
  has returned, so a process with a full table would wait for them, with nothing to tell it that they are free.
- **A shorter file to import.** V8 compiles the package's 222 KB in 7 ms on a machine where an empty script takes 74.
  Without white space that takes 6.4 ms, and with short names too 5.7. The whole import took 21.9, 21.9 and 24.6 ms more
  than a script that imports one line. Of this, Node's own streams take 3.5 ms, and loading the core less than 1.
- **Taking bytes without copying them again.** \`MSG_TRUNC\` copies them all the same on a Unix socket. Copying into one
  page again and again saves 0.25 of 1.6 µs.

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
- **Idle**: the other ends are open in another process, in objects of the same kind. Memory outside the heap is
  resident memory that
  is not V8's. Wake-ups are voluntary context switches of all threads in half a second, while one timer is pending.
- **Import**: a process that imports the library, passes one descriptor to itself and ends, compared with a process that
  runs an empty script, in turn.
`;
}

const callsTable = table(
  ['', 'sender, or who begins', 'receiver'],
  [
    ['C, 1 per message', '1.01', '2.01'],
    ['C with the same care, 1 per message', '1.01', '2.04'],
    ['FdPasser, 1 per message', '0.03', '2.18'],
    ['FdPasser, 253 per message', '0.00', '2.03'],
    ['the same, received in bulk', '0.00', '1.01'],
    ['FdChannel, a message with a descriptor', '0.07', '2.07'],
    ['1,000 FdChannels, there and back', '3.03 (3.96 before)', '3.17 (4.07 before)'],
    ['1,000 net.Sockets with lines of JSON', '2.05', '2.01'],
    ['FdStream, 64 KiB', '1.97 (4.81 before)', '2.42 (2.80 before)'],
    ['net.Socket, 64 KiB', '2.54', '1.38'],
    ['FdStream, 4 KiB and a descriptor', '0.22 (0.51 before)', '2.41 (2.47 before)'],
    ['C, 4 KiB and a descriptor', '1.06', '2.01'],
  ],
);

const profileTable = table(
  ['', 'kernel', 'Node', 'compiled JavaScript', 'C library', 'the core'],
  [
    ['FdPasser, 1 per message, receiver', '87', '4', '3', '3', '3'],
    ['FdPasser, 253 per message, sender', '45', '21', '32', '2', '0'],
    ['FdPasser, 253 per message, receiver', '74', '5', '8', '7', '6'],
    ['the same, received in bulk', '80', '4', '6', '4', '6'],
    ['FdChannel, sender', '9', '62', '23', '5', '0'],
    ['FdChannel, receiver', '38', '42', '12', '5', '3'],
    ['1,000 FdChannels, who begins', '32', '39', '25', '3', '1'],
    ['FdStream, 64 KiB, receiver', '81', '10', '3', '5', '1'],
    ['FdStream, 4 KiB and a descriptor, sender', '53', '21', '9', '16', '0'],
    ['FdStream, 4 KiB and a descriptor, receiver', '66', '16', '4', '12', '2'],
    ['FdPasser, there and back', '75', '14', '5', '3', '2'],
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
  const parts = [50, 99, 99.9];
  return table(
    ['percentile', ...rows.map((name) => figures[name].title)],
    parts.map((part) => [String(part), ...rows.map((name) => microseconds(trip(figures[name], part)))]),
  );
}

function trip(row, part) {
  return median(row.runs.map(({ trips }) => trips[part]));
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
