/** Runs test files by node:test, one after the other, so that nothing can hang and nothing is left running. */
import { readdirSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec, tap } from 'node:test/reporters';
import { setTimeout as sleep } from 'node:timers/promises';

/** In the environment of every process of this run, however it was started. */
const MARK = `FDPASSER_TEST_RUN=${process.pid}-${Date.now()}`;

/**
 * Runs the files and says how it went, on standard output and by the exit code. A file that does not end within `limit`
 * is killed, and what it started must end within `grace` after it, or is killed: both have failed, and are named. Both
 * are milliseconds.
 */
export async function runFiles(files, limits) {
  [, process.env.FDPASSER_TEST_RUN] = MARK.split('=');
  for (const signal of ['SIGINT', 'SIGTERM'])
    process.once(signal, () => {
      killAll();
      process.exit(1);
    });
  const report = Readable.from(eventsOf(files, limits)).compose(process.stdout.isTTY ? new spec() : tap);
  report.pipe(process.stdout, { end: false });
  await finished(report);
}

/** What node:test says of each file, as if they had been one run. */
async function* eventsOf(files, { limit, grace }) {
  const totals = new Map();
  let shown = 0;
  for (const file of files) {
    const underWay = new Set();
    for await (const event of run({ files: [file], timeout: limit })) {
      const { type, data } = event;
      if (type === 'test:dequeue') underWay.add(data.name);
      if (type === 'test:complete') underWay.delete(data.name);
      const total = type === 'test:diagnostic' && /^([a-z_]+) ([\d.]+)$/.exec(data.message);
      if (total) totals.set(total[1], (totals.get(total[1]) ?? 0) + Number(total[2]));
      if (total || type === 'test:plan' || type === 'test:summary') continue;
      if (isResult(event)) {
        data.testNumber = ++shown;
        if (type === 'test:fail') process.exitCode = 1;
      }
      yield event;
      if (isTimeout(event)) yield diagnostic(`${relative('.', file)} did not end; under way: ${[...underWay].join()}`);
    }
    for (const left of await killLeft(grace)) {
      process.exitCode = 1;
      totals.set('fail', totals.get('fail') + 1);
      const error = new Error(`${relative('.', file)} left a process behind: ${left}`);
      const data = { name: error.message, nesting: 0, testNumber: ++shown, details: { duration_ms: 0, error }, file };
      yield { type: 'test:start', data };
      yield { type: 'test:fail', data };
    }
  }
  yield { type: 'test:plan', data: { nesting: 0, count: shown } };
  for (const [name, total] of totals) yield diagnostic(`${name} ${total}`);
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

/** Lets the processes of this run end; kills those that do not, and returns what they are. */
async function killLeft(grace) {
  for (const end = Date.now() + grace; Date.now() < end && ofThisRun().length > 0;) await sleep(20);
  return killAll();
}

function killAll() {
  return ofThisRun().map((pid) => {
    const command = ofProcess(pid, 'cmdline').replaceAll('\0', ' ').trim();
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
    return `${pid} ${command}`;
  });
}

function ofThisRun() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && ofProcess(pid, 'environ').split('\0').includes(MARK));
}

/** Empty for one that has ended, and for another user's. */
function ofProcess(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}
