/** The targets for the figures. Each target compares rows of one run, so that a slower machine changes little. */
import { median } from './statistics.js';
import { bytes, milliseconds } from './tables.js';

const times = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0));

const EACH =
  'Both ask the same before each close, and make as many system calls: see below. In the profile, three quarters of ' +
  "the receiver's time and more are the kernel's, which takes longer where a process has threads: see the rows of C " +
  'with a thread. Beside that, each descriptor takes a call into the core to close it, an object, and a callback. ' +
  "In C, sending a descriptor again takes only the kernel's time.";

const TRIP =
  "Node's event loop takes the time: it asks epoll twice where C asks once, and runs its own queues after each " +
  'callback. net.Socket does that too. A passer also makes one system call more to receive, and asks before it closes.';

const TURN =
  'A link receives for half a millisecond a turn, and no receive grows the table. The rest is V8: it collects its ' +
  'young generation, compiles code, and waits for a processor while its own threads and the sender use both. ' +
  'Once the code is compiled, the turn is shorter: see the last row of that table.';

const OBJECTS =
  'What is left are the two halves with the limits, counts and lines of what is under way, the session, and the link ' +
  'with its counters.';

/**
 * `rows` are the rows that a target needs. `of` computes its value from one run of each, and the median over the rounds
 * is reported. `show` formats the value. `limited` is the document's text on what limits a target that is not met.
 */
export const targets = [
  atLeast(0.92, 'FdPasser, one per message, against C with the same care', speed('passer-1', 'care-1'), EACH),
  atLeast(0.8, 'FdPasser, 253 per message, against C with the same care', speed('passer-253', 'care-253'), EACH),
  atLeast(
    0.95,
    'the same, received in bulk, against plain C',
    speed('passer-many-253', 'c-253'),
    'Plain C takes no care: it peeks at nothing, and asks nothing before it closes. C with the same care and a ' +
      'thread is about as far from it: see the rows. More than half of its time are the questions.',
  ),
  atMost(
    1.5,
    'CPU of both sides, 253 per message, against C with the same care',
    ratio('passer-253', 'care-253', cpu),
    EACH,
  ),
  atLeast(
    0.7,
    'FdChannel, 100 bytes of JSON and a descriptor, against C one per message',
    speed('channel', 'c-1'),
    'A message is written and read as JSON, has a frame, and resolves a promise at each end. C does nothing of that. ' +
      'In the profile, nine tenths of the time of the sender, and more than half of that of the receiver, are those ' +
      'of Node and of JavaScript.',
  ),
  atMost(
    2,
    'CPU of 1,000 FdChannels, against net.Sockets with lines of JSON',
    ratio('thousand-channel', 'thousand-lines', cpu),
    'A message of a channel is peeked at before it is taken, where a net.Socket reads once. It also has a frame, ' +
      'counts against a window, and resolves a promise. In the profile, two thirds of the time are those of Node and ' +
      'of JavaScript.',
  ),
  atLeast(
    1,
    'FdStream, 64 KiB without descriptors, against net.Socket',
    speed('stream-bytes', 'net-bytes'),
    'Peeking first copies the bytes twice. It is needed because descriptors may lie anywhere between them. See below ' +
      'for what was tried instead.',
  ),
  atLeast(
    0.7,
    'FdStream, 4 KiB and a descriptor, against C',
    speed('stream-4k', 'c-4k'),
    'C with the same care reaches about three quarters of plain C: see the rows. In the profile, half of the time ' +
      "and more are the kernel's. The rest is Node's, whose streams make several objects for each write. The buffer " +
      'of the socket holds about 26 of these messages, and the kernel tells the sender that there is room again when ' +
      'three quarters are read. So each side waits for the other, and a wait takes a turn of the event loop.',
  ),
  atMost(
    1.25,
    'round trip, median, against a byte over net.Socket',
    ratio('passer-trip', 'net-trip', (run) => run.trips[50]),
    TRIP,
  ),
  atMost(
    2e6,
    'longest turn of the event loop while 18,000 descriptors come',
    { rows: ['passer-growth'], of: ({ worst }) => worst, show: milliseconds },
    TURN,
  ),
  atMost(
    1.3,
    "sender's CPU of each, 1,000,000 queued against 1,000",
    ratio('queue-1000000', 'queue-1000', ({ sendCpu }) => sendCpu),
    'An entry that still waits when V8 collects its young generation is copied, twice at most. A thousand entries ' +
      'are sent before that. From ten thousand on, all are copied, and the cost grows little: see the plot.',
  ),
  atMost(1500, 'heap of an idle FdChannel', { rows: ['idle-channel'], of: ({ heap }) => heap, show: bytes }, OBJECTS),
  atMost(1500, 'heap of an idle FdStream', { rows: ['idle-stream'], of: ({ heap }) => heap, show: bytes }, OBJECTS),
  atMost(1000, 'heap of an idle FdPasser', { rows: ['idle'], of: ({ heap }) => heap, show: bytes }, OBJECTS),
  atMost(
    12e6,
    'import and first descriptor, over an empty script',
    {
      rows: ['cold'],
      of: ({ over }) => over,
      show: milliseconds,
    },
    'Most of it is V8, which compiles the package, and Node, which loads its streams. See below for what was tried.',
  ),
];

function cpu({ sendCpu, receiveCpu }) {
  return sendCpu + receiveCpu;
}

function ratio(one, other, of) {
  return { rows: [one, other], of: (a, b) => of(a) / of(b), show: times };
}

function speed(one, other) {
  return ratio(one, other, ({ rate }) => rate);
}

function atLeast(least, what, measure, limited) {
  return { what, ...measure, limited, sign: 'at least', limit: least, meets: (value) => value >= least };
}

function atMost(most, what, measure, limited) {
  return { what, ...measure, limited, sign: 'at most', limit: most, meets: (value) => value <= most };
}

/** The targets whose rows were measured. */
export function judge(figures) {
  return targets
    .filter(({ rows }) => rows.every((name) => figures[name] !== undefined))
    .map(({ what, rows, of, show, sign, limit, meets, limited }) => {
      const target = `${sign} ${show(limit)}`;
      const runs = rows.map((name) => figures[name].runs);
      if (runs.includes(undefined)) return { what, target };
      const value = median(runs[0].map((_, round) => of(...runs.map((of) => of[round]))));
      return { what, target, value, measured: show(value), met: meets(value), limited };
    });
}
