/**
 * `make passer|channel|stream`: opens many, whose other ends the `hold` side has, and reports what they take while
 * nothing happens: descriptors and bytes for each, and how often a thread of the process woke up, without them and with
 * them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { FdChannel, FdPasser, FdStream, socketpair } from 'fdpasser';
import { serve, SOCKET } from './side.js';

const IDLE = 500; // milliseconds
const SETTLING = 100;

const passer = new FdPasser({ fh: SOCKET, batch: 253 });
const [mode, wire] = process.argv.slice(2);
const Wire = { passer: FdPasser, channel: FdChannel, stream: FdStream }[wire];
const kept = [];
await serve({ make, hold }[mode], { receives: mode === 'hold' });

async function make(total) {
  const sockets = [];
  for (let i = 0; i < total; i++) {
    const [one, other] = socketpair();
    sockets.push(one.take());
    await passer.send(other);
  }
  await settle();
  const before = state();
  const without = await wakeUps();

  for (const fh of sockets) kept.push(new Wire(fh));
  // The peers of channels have said hello by then.
  if (wire === 'channel')
    while (kept.some((channel) => channel.stats().bytesReceived === 0)) await setTimeout(SETTLING);
  await settle();
  const after = state();
  const each = (of) => (of(after) - of(before)) / total;
  return {
    descriptors: 1 + each(({ descriptors }) => descriptors), // the socket was open before
    heap: each(({ heap }) => heap),
    native: Math.max(
      0,
      each(({ native }) => native),
    ),
    without,
    with: await wakeUps(),
  };
}

async function hold(total) {
  for (let i = 0; i < total; i++) kept.push(new Wire(await passer.receive()));
}

async function settle() {
  await setTimeout(SETTLING);
  globalThis.gc();
  await setTimeout(SETTLING);
}

/** `native` is resident memory outside V8's heap. */
function state() {
  const { heapUsed, external, rss } = process.memoryUsage();
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    heap: heapUsed + external,
    native: rss - getHeapStatistics().total_physical_size,
  };
}

/** How often a thread slept and woke while the process only waited for one timer. */
async function wakeUps() {
  const before = sleeps();
  await setTimeout(IDLE);
  return sleeps() - before;
}

function sleeps() {
  return readdirSync('/proc/self/task')
    .map((task) => readFileSync(`/proc/self/task/${task}/status`, 'utf8'))
    .map((status) => Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)[1]))
    .reduce((sum, count) => sum + count);
}
