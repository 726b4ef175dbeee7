/** The targets for the figures. Each target compares rows of one run, so that a slower machine changes little. */
import { median } from './statistics.js';
import { bytes, milliseconds } from './tables.js';

const times = (value) => (value < 10 ? value.toFixed(2) : value.toFixed(0));

const CARE =
  'A receive that loses nothing peeks at a message before it takes it. A close that no peer can delay first asks the ' +
  'kernel what the descriptor is.';

const MOST = `${CARE} "C with the same care" does only the same two things: its speed is the most that can be reached.`;

const CHANNEL =
  'A message is written and read as JSON, has a frame, and resolves a promise at each end: the instructions in the ' +
  'table are five times those of a passer. The ratio is about one half, sometimes above and sometimes below.';

const TWICE =
  'Peeking first copies the bytes twice. It is needed because descriptors may lie anywhere between them. A net.Socket ' +
  'reads once.';

const TRIP =
  "Node's event loop takes the time: it asks epoll twice where C asks once, and runs its own queues after each " +
  'callback. Compare a byte there and back over net.Socket, below, which passes no descriptor.';

const IPC =
  "The target was set when Node's own way passed 2,600 to 4,000 a second. Compare its row with that of C, which is the " +
  'most that the kernel allows.';

const BATCH_CPU =
  "In C, sending a descriptor again takes only the kernel's time. Here each descriptor is pushed by a call of its own, " +
  'and has an object that knows whether it is still open and what will happen to it.';

const TURN =
  'A link receives for half a millisecond a turn, and no receive grows the table. The rest is V8: it collects its ' +
  'young generation, compiles code, and waits for a processor while its own threads and the sender use both. ' +
  'Once the code is compiled, the turn is shorter: see the last row of that table.';

/**
 * `rows` are the rows that a target needs. `of` computes its value from one run of each, and the median over the rounds
 * is reported. `show` formats the value. `limited` is the document's text on what limits a target that is not met.
 */
export const targets = [
  atLeast(
    0.9,
    'FdPasser, one per message, against C',
    speed('passer-1', 'c-1'),
    `${CARE} In the profile below, nine tenths of the receiver's time are the kernel's.`,
  ),
  atLeast(
    0.6,
    'FdPasser, 253 per message, against C',
    speed('passer-253', 'c-253'),
    `${MOST} Beyond that, each descriptor is a call into the core to close it, an object, and a callback.`,
  ),
  atLeast(0.85, 'the same, received in bulk', speed('passer-many-253', 'c-253'), MOST),
  atLeast(0.5, 'FdChannel, 100 bytes of JSON, against C one per message', speed('channel', 'c-1'), CHANNEL),
  atLeast(0.8, 'FdStream, 64 KiB without descriptors, against net.Socket', speed('stream-bytes', 'net-bytes'), TWICE),
  atLeast(
    0.7,
    'FdStream, 4 KiB and a descriptor, against C',
    speed('stream-4k', 'c-4k'),
    "The socket's buffer holds about 26 of these messages. The kernel tells the sender that there is room again when " +
      'three quarters are read. So each side waits for the other about half of the time, as the CPU times show, and a ' +
      "wait takes a turn of Node's event loop. Peeking first also copies the bytes twice.",
  ),
  atMost(
    1.4,
    'round trip, median, against C',
    ratio('passer-trip', 'c-trip', (run) => run.trips[50]),
    TRIP,
  ),
  atMost(
    3,
    'round trip, 99th percentile, against C',
    ratio('passer-trip', 'c-trip', (run) => run.trips[99]),
    TRIP,
  ),
  atLeast(80, 'FdPasser, one per message, against process.send(message, handle)', speed('passer-1', 'ipc'), IPC),
  atLeast(400, 'FdPasser, 253 per message, against process.send(message, handle)', speed('passer-253', 'ipc'), IPC),
  atMost(1.5, 'CPU of both sides, one per message, against C', ratio('passer-1', 'c-1', cpu)),
  atMost(1.5, 'CPU of both sides, 253 per message, against C', ratio('passer-253', 'c-253', cpu), BATCH_CPU),
  atMost(1.5, 'the same, received in bulk', ratio('passer-many-253', 'c-253', cpu), BATCH_CPU),
  atMost(
    2e6,
    'longest turn of the event loop while 18,000 descriptors come',
    {
      rows: ['passer-growth'],
      of: ({ worst }) => worst,
      show: milliseconds,
    },
    TURN,
  ),
  atMost(100, 'heap of each of 1,000,000 queued', { rows: ['heap'], of: ({ each }) => each, show: bytes }),
  atMost(
    1.25,
    "sender's CPU of each, 1,000,000 queued against 1,000",
    ratio('queue-1000000', 'queue-1000', ({ sendCpu }) => sendCpu),
    'An entry that still waits when V8 collects its young generation is copied, twice at most. A thousand entries are ' +
      'sent before that. From ten thousand on, all are copied, and the cost grows little: see the plot.',
  ),
  atMost(1, 'descriptors of each of 10,000 idle passers', {
    rows: ['idle'],
    of: (run) => run.descriptors,
    show: times,
  }),
  atMost(2048, 'memory of each', { rows: ['idle'], of: ({ heap, native }) => heap + native, show: bytes }),
  atMost(2, 'wake-ups in half a second that all of them add', {
    rows: ['idle'],
    of: (run) => run.with - run.without,
    show: (value) => value.toFixed(0),
  }),
  atMost(15e6, 'import and first descriptor, over an empty script', {
    rows: ['cold'],
    of: ({ over }) => over,
    show: milliseconds,
  }),
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
