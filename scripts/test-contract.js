/**
 * Compiles the C tests of native/fdpasser.h with each interface, and runs them.
 *
 * node scripts/test-contract.js [--valgrind] [--musl] [--tsan] [--compile] [title]
 *
 * --valgrind: runs them under valgrind; no block may be lost and no descriptor left open. --musl: compiles with
 * musl-gcc. --tsan: under ThreadSanitizer. --compile: only compiles, for another kernel or processor;
 * scripts/test-kernels.js runs them there. Emulated interfaces are then left out, because they test no kernel. With a
 * title, or a part of one, only those tests run. FDPASSER_RACE says how many messages race for the last slots.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sources as coreSources } from '../src/cli/compile-core.js';
import { INTERFACES } from './contract-interfaces.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, 'build', 'contract');
const tests = join(root, 'test', 'contract');
const flags = new Set(process.argv.slice(2).filter((argument) => argument.startsWith('--')));
const titles = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));

const sources = (folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.c'))
    .map((name) => join(folder, name));
/** Files that need Node, and are left out. */
const NODES = new Set(['addon.c', 'uv.c']);
const coreOf = (transport) => coreSources(transport).filter((file) => !NODES.has(basename(file)));

const musl = flags.has('--musl');
const compiler = musl ? 'musl-gcc' : (process.env.CC ?? 'cc');
const options = [
  '-std=gnu11',
  '-D_GNU_SOURCE',
  '-O1',
  '-g',
  '-pthread',
  '-Wall',
  '-Wextra',
  '-Wshadow',
  '-Wconversion',
];
options.push('-Werror');
if (flags.has('--tsan')) {
  options.push('-fsanitize=thread');
  process.env.TSAN_OPTIONS ??= `suppressions=${join(root, 'test', 'tsan', 'suppressions.txt')}`;
}
if (flags.has('--compile')) options.push('-static');
// The macros of musl's own headers mix signed and unsigned numbers.
if (musl) options.push('-static', '-Wno-sign-compare', '-Wno-sign-conversion');

/** Only a hang takes this long. */
const LIMIT = 15 * 60_000;

/** Runs a command to its end. Its output is collected, because several run at a time. */
async function run(command, given, env = process.env) {
  const limit = { timeout: LIMIT, killSignal: 'SIGKILL' };
  const child = spawn(command, given, { stdio: ['ignore', 'pipe', 'pipe'], env, ...limit });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => said.push(chunk));
  const [status, signal] = await once(child, 'close');
  if (signal) said.push(Buffer.from(`# ${command} was killed by ${signal}\n`));
  return { failed: status !== 0, said: Buffer.concat(said).toString() };
}

async function compile({ name, transport, flags, only = [], emulator }, program) {
  const folder = dirname(program);
  mkdirSync(folder, { recursive: true });
  const core = coreOf(transport);
  const files = [...core, ...sources(tests), ...(emulator ? [emulator] : [])];
  const objects = files.map((_, i) => join(folder, `${i}.o`));
  for (const [i, file] of files.entries()) {
    const extra = i < core.length ? only : [];
    const all = [...options, ...transport.flags, ...flags, ...extra, '-c', '-o', objects[i], file];
    const { failed, said } = await run(compiler, all);
    if (failed) return { failed, said: `${name}: ${said}` };
  }
  return run(compiler, [...options, '-o', program, ...objects]);
}

/** What valgrind reports for a descriptor that is open at the end. */
const OPEN = /.*Open (?:file descriptor|AF_\w+ socket) \d+:.*\n(?:==\d+== {4}(?:at|by) .*\n)*/g;
/**
 * The pair of sockets in which slow closes land stays open until the process ends, and so does what still waits in it.
 */
const OF_THE_CLOSING = / (?:fdp_prepare_landing|keep) \(lane\.c/;

/** Runs it under valgrind, and adds what valgrind found in any of its processes. */
async function runUnderValgrind(program) {
  const log = `${program}.log`;
  const { failed, said } = await run(
    'valgrind',
    [
      '-q',
      '--leak-check=full',
      '--track-fds=yes',
      // Threads run one at a time under valgrind. They must take turns, or those that race starve the receiving one.
      '--fair-sched=yes',
      '--error-exitcode=99',
      `--log-file=${log}.%p`,
      // A detached thread that is just ending still has its stack.
      '--show-leak-kinds=definite,indirect',
      '--errors-for-leak-kinds=definite,indirect',
      program,
      ...titles,
    ],
    // A race takes long under valgrind.
    { FDPASSER_VALGRIND: '1', FDPASSER_RACE: '5', ...process.env },
  );
  const found = readdirSync(dirname(program))
    .filter((name) => name.startsWith('contract.log.'))
    .map((name) => readFileSync(join(dirname(program), name), 'utf8'))
    // Descriptors of the parent are also open in the child, and do not count.
    .map((text) => text.replaceAll(/.*Open (?:file descriptor|AF_\w+ socket) \d+:.*\n.*<inherited from parent>\n/g, ''))
    .map((text) => text.replaceAll(OPEN, (report) => (OF_THE_CLOSING.test(report) ? '' : report)))
    .filter((text) =>
      /Open (?:file descriptor|AF_)|definitely lost|indirectly lost|possibly lost|Invalid|uninitialised/.test(text),
    );
  return { failed: failed || found.length > 0, said: [said, ...found].join('\n') };
}

async function tryOne(each) {
  const program = join(build, each.name, 'contract');
  const compiled = await compile(each, program);
  if (compiled.failed || flags.has('--compile')) return compiled;
  const result = await (flags.has('--valgrind') ? runUnderValgrind(program) : run(program, titles));
  return { ...result, said: compiled.said + result.said };
}

rmSync(build, { recursive: true, force: true });
/** Two run at a time, because most of the time they wait. */
const lanes = [Promise.resolve(), Promise.resolve()];
const chosen = flags.has('--compile') ? INTERFACES.filter(({ emulator }) => !emulator) : INTERFACES;
const results = chosen.map((each, i) => (lanes[i % 2] = lanes[i % 2].then(() => tryOne(each))));
for (const [i, each] of chosen.entries()) {
  const { failed, said } = await results[i];
  console.log(`# ${each.name}: ${each.title}\n${said}`);
  if (failed) process.exitCode = 1;
}
