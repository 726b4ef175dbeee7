/**
 * Compiles the tests and runs them, or those named, under the guard against closing a number twice.
 *
 *   node scripts/test.js [name ...]     such as "order", for test/order.test.ts
 *
 * Each file has a time limit and must leave no process behind: what is left is named and killed, and the file has failed.
 *
 * PRELOAD names libraries to load before the guard: a sanitizer's. FAULTS_ALL is for scripts/test-faults.js.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { Readable } from 'node:stream';
import { run } from 'node:test';
import { spec, tap } from 'node:test/reporters';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, 'build');
const library = (name) => join(build, `${name}.so`);

/** For one file. Generous: only a hang takes as long. */
const LIMIT = (process.env.FAULTS_ALL ? 60 : 8) * 60_000;
/** How long what a file started may take to end after the file. */
const GRACE = 10_000;
/** In the environment of every process of this run, however it was started. */
const MARK = `FDPASSER_TEST_RUN=${process.pid}-${Date.now()}`;

rmSync(join(build, 'test'), { recursive: true, force: true });
mkdirSync(build, { recursive: true });
const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-fPIC', '-shared'];
for (const name of ['close-guard', 'faults'])
  execFileSync(process.env.CC ?? 'cc', [...flags, '-o', library(name), join(root, `test/support/${name}.c`), '-ldl']);
execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(root, 'test/tsconfig.json')], { stdio: 'inherit' });

const wanted = process.argv.slice(2);
const files = readdirSync(join(build, 'test'))
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.includes(name.slice(0, -'.test.js'.length)))
  .toSorted()
  .map((name) => join(build, 'test', name));

process.chdir(root);
process.env.LD_PRELOAD = [process.env.PRELOAD, library('close-guard')].filter(Boolean).join(':');
[, process.env.FDPASSER_TEST_RUN] = MARK.split('=');
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    killAll();
    process.exit(1);
  });
Readable.from(runAll())
  .compose(process.stdout.isTTY ? new spec() : tap)
  .pipe(process.stdout);

/** What node:test says of each file, as if they had been one run. */
async function* runAll() {
  const totals = new Map();
  let shown = 0;
  for (const file of files) {
    const underWay = new Set();
    for await (const event of run({ files: [file], timeout: LIMIT })) {
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
      if (isTimeout(event)) yield diagnostic(`${relative(root, file)} did not end; under way: ${[...underWay].join()}`);
    }
    for (const left of await killLeft()) {
      process.exitCode = 1;
      totals.set('fail', totals.get('fail') + 1);
      const error = new Error(`${relative(root, file)} left a process behind: ${left}`);
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
async function killLeft() {
  for (const end = Date.now() + GRACE; Date.now() < end && ofThisRun().length > 0;) await sleep(20);
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
