/**
 * Compiles the tests and runs them, or only those named, under the guard against closing a number twice.
 *
 * node scripts/test.js [--compiled] [name ...] such as "order" for test/passer/order.test.ts, or "passer/" for all of
 * that folder
 *
 * --compiled: runs them as they were compiled before, with the longer limits that an emulated processor needs. PRELOAD
 * names libraries to load before the guard: a sanitizer's. FAULTS_ALL is for scripts/test-faults.js, and LONG for what
 * takes long in full (test/support/amount.ts).
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { build, compileTests, library, root } from './compile-tests.js';
import { runFiles } from './run-files.js';

const compiled = process.argv[2] === '--compiled';
const wanted = process.argv.slice(compiled ? 3 : 2);
/** Only a hang takes this long. */
const LIMIT = (process.env.FAULTS_ALL || process.env.LONG || compiled ? 60 : 12) * 60_000;

/** These measure time, or use up what all processes of the machine share. */
const ALONE = ['in-flight'];

/** These take longest, so they begin first: the end of the run then waits for none of them. */
const FIRST = [
  'descriptor/to-connection',
  'workers/sessions',
  'workers/disturbed',
  'cli/exec-workers',
  'cli/exec-hardships',
  'cli/exec-takeover',
  'takeover/live/websocket',
  'cli/exec',
  'takeover/unmodified',
  'workers/workers',
  'native/death-at-every-step',
  'native/injected-errors',
  'takeover/old-one-fails',
  'takeover/new-one-fails',
];

if (!compiled) compileTests();
const files = readdirSync(join(build, 'test'), { encoding: 'utf8', recursive: true })
  .filter((path) => path.endsWith('.test.js'))
  .filter((path) => wanted.length === 0 || wanted.some((name) => isNamed(path.slice(0, -'.test.js'.length), name)))
  .toSorted((one, other) => place(one) - place(other) || (one < other ? -1 : 1))
  .map((path) => join(build, 'test', path));

/** A name is that of a file, with or without its folder, or a folder with "/" at the end, for all files in it. */
function isNamed(path, name) {
  return name.endsWith('/') ? path.startsWith(name) : `/${path}`.endsWith(`/${name}`);
}

/** The folder of the interpreter itself: a version manager's script would search for it at each start. */
function pythons() {
  try {
    const program = 'import os, sys; print(os.path.dirname(sys.executable))';
    return [execFileSync('python3', ['-c', program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()];
  } catch {
    return [];
  }
}

function place(path) {
  const index = FIRST.indexOf(path.slice(0, -'.test.js'.length));
  return index < 0 ? FIRST.length : index;
}

process.chdir(root);
// Each Node process would read it at its start, for longer than all else that it does then, and no test needs it.
delete process.env.NODE_EXTRA_CA_CERTS;
process.env.PATH = [...pythons(), process.env.PATH].join(delimiter);
process.env.LD_PRELOAD = [process.env.PRELOAD, library('close-guard')].filter(Boolean).join(':');
// More than there are processors: most wait most of the time.
const atOnce = Math.min(3 * availableParallelism(), 8);
await runFiles(files, {
  limit: LIMIT,
  grace: 10_000,
  atOnce,
  isAlone: (file) => ALONE.includes(basename(file, '.test.js')),
});
