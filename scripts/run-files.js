/** Runs test files by node:test, some at once, so that nothing can hang and nothing is left running. */
import { readdirSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec, tap } from 'node:test/reporters';
import { setTimeout as sleep } from 'node:timers/promises';

/** In the environment of every process of this run, however it was started. What follows it is the number of a file. */
const MARK = `FDPASSER_TEST_RUN=${process.pid}-${Date.now()}-`;

/**
 * Runs the files and says how it went, on standard output and by the exit code. A file that does not end within `limit`
 * is killed. What a file started must end within `grace` after it, or is killed. Both have failed, and are named. Both
 * limits are milliseconds. `atOnce` files run at the same time, but those for which `isAlone` holds run one by one
 * after the others.
 */
export async function runFiles(files, { limit, grace, atOnce = 1, isAlone = () => false }) {
  for (const signal of ['SIGINT', 'SIGTERM'])
    process.once(signal, () => {
      killAll(MARK);
      process.exit(1);
    });
  const together = files.filter((file) => !isAlone(file));
  const runs = async function* () {
    yield* runsOf(together, { limit, grace }, atOnce);
    yield* runsOf(files.filter(isAlone), { limit, grace }, 1);
  };
  const report = Readable.from(eventsOf(runs())).compose(process.stdout.isTTY ? new spec() : tap);
  report.pipe(process.stdout, { end: false });
  await finished(report);
}

/** Runs the files, `atOnce` at the same time. Gives the outcome of each when it is there. */
async function* runsOf(files, limits, atOnce) {
  const left = [...files];
  const running = new Map();
  while (left.length > 0 || running.size > 0) {
    while (running.size < atOnce && left.length > 0) {
      const file = left.shift();
      running.set(
        file,
        runFile(file, limits).then((outcome) => [file, outcome]),
      );
    }
    const [file, outcome] = await Promise.race(running.values());
    running.delete(file);
    yield outcome;
  }
}

/** What node:test says of each file, as if they had been one run. */
async function* eventsOf(runs) {
  const totals = new Map();
  const missing = new Map();
  let shown = 0;
  for await (const { events, left } of runs) {
    for (const event of events) {
      const { type, data } = event;
      const total = type === 'test:diagnostic' && /^([a-z_]+) ([\d.]+)$/.exec(data.message);
      if (total) totals.set(total[1], (totals.get(total[1]) ?? 0) + Number(total[2]));
      if (total || type === 'test:plan' || type === 'test:summary') continue;
      if (isResult(event)) data.testNumber = ++shown;
      if (type === 'test:fail') process.exitCode = 1;
      const [, what] = /^needs (.*)$/.exec(data.skip) ?? [];
      if (type === 'test:pass' && what) missing.set(what, (missing.get(what) ?? 0) + 1);
      yield event;
    }
    for (const error of left) {
      process.exitCode = 1;
      totals.set('fail', totals.get('fail') + 1);
      const data = { name: error.message, nesting: 0, testNumber: ++shown, details: { duration_ms: 0, error } };
      yield { type: 'test:start', data };
      yield { type: 'test:fail', data };
    }
  }
  yield { type: 'test:plan', data: { nesting: 0, count: shown } };
  for (const [name, total] of totals) yield diagnostic(`${name} ${total}`);
  const list = [...missing].map(([what, count]) => `${count} for want of ${what}`).join('; ');
  if (list !== '') yield diagnostic(`tests left out: ${list}`);
}

let started = 0;
let starting = Promise.resolve();

/** Runs one file. Resolves with what node:test says of it, and an error for each process that it left behind. */
async function runFile(file, { limit, grace }) {
  const name = relative('.', file);
  const mark = `${MARK}${++started}.`;
  /** @type {Promise<object[]>} */
  let events = Promise.resolve([]);
  // One after the other: node:test gives a test process the environment that this one has when it starts it.
  starting = starting.then(async () => {
    [, process.env.FDPASSER_TEST_RUN] = mark.split('=');
    const over = new AbortController();
    events = eventsOfFile(file, name, limit).finally(() => over.abort());
    while (!over.signal.aborted && ofThisRun(mark).length === 0) await sleep(10);
  });
  await starting;
  return { events: await events, left: await killLeft(mark, grace, name) };
}

async function eventsOfFile(file, name, limit) {
  const events = [];
  const underWay = new Set();
  for await (const event of run({ files: [file], timeout: limit })) {
    const { type, data } = event;
    if (type === 'test:dequeue') underWay.add(data.name);
    if (type === 'test:complete') underWay.delete(data.name);
    events.push(event);
    if (isTimeout(event)) events.push(diagnostic(`${name} did not end; under way: ${[...underWay].join()}`));
  }
  return events;
}

function isResult({ type, data }) {
  return (type === 'test:pass' || type === 'test:fail') && data.nesting === 0;
}

function isTimeout({ type, data }) {
  return type === 'test:fail' && data.details.error?.failureType === 'testTimeoutFailure';
}

function diagnostic(message) {
  return { type: 'test:diagnostic', data: { nesting: 0, message } };
}

/** Lets the processes with this mark end. Kills those that do not, and resolves with an error for each. */
async function killLeft(mark, grace, name) {
  for (const end = Date.now() + grace; Date.now() < end && ofThisRun(mark).length > 0;) await sleep(20);
  return killAll(mark).map((left) => new Error(`${name} left a process behind: ${left}`));
}

/** Kills the processes whose mark begins so, and returns what they are. */
function killAll(mark) {
  return ofThisRun(mark).map((pid) => {
    const command = ofProcess(pid, 'cmdline').replaceAll('\0', ' ').trim();
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
    return `${pid} ${command}`;
  });
}

function ofThisRun(mark) {
  const isMarked = (text) => text.startsWith(mark);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && ofProcess(pid, 'environ').split('\0').some(isMarked));
}

/** Empty for one that has ended, and for another user's. */
function ofProcess(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}
