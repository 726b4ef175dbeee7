/**
 * Compiles the C tests of native/fdpasser.h with each interface, and runs them.
 *
 *   node scripts/test-contract.js [--valgrind] [--musl] [--tsan] [title]
 *
 * --valgrind: under it, with no lost block and no descriptor left open. --musl: compiled with musl-gcc.
 * --tsan: under ThreadSanitizer.
 * A title, or a part of one: those tests alone. FDPASSER_RACE says how many messages race for the last slots.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
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
const core = [
  ...['close.c', 'descriptor.c', 'detached.c', 'ledger.c', 'table.c'].map((name) => join(root, 'native', name)),
  join(root, 'native', 'poller', 'thread.c'),
  ...sources(join(root, 'native', 'transport')),
];

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
if (flags.has('--tsan')) options.push('-fsanitize=thread');
// The macros of musl's own headers mix signed and unsigned numbers.
if (musl) options.push('-static', '-Wno-sign-compare', '-Wno-sign-conversion');

function compile({ name, flags, only = [], emulator }) {
  const folder = join(build, name);
  mkdirSync(folder, { recursive: true });
  const objects = [];
  const object = (source, extra) => {
    const file = join(folder, `${objects.length}.o`);
    execFileSync(compiler, [...options, ...flags, ...extra, '-c', '-o', file, source], { stdio: 'inherit' });
    objects.push(file);
  };
  for (const source of core) object(source, only);
  for (const source of sources(tests)) object(source, []);
  if (emulator) object(emulator, []);
  const program = join(folder, 'contract');
  execFileSync(compiler, [...options, '-o', program, ...objects], { stdio: 'inherit' });
  return program;
}

/** Runs it under valgrind; returns what valgrind found in any of its processes. */
function runUnderValgrind(program) {
  const log = `${program}.log`;
  const { status } = spawnSync(
    'valgrind',
    [
      '-q',
      '--leak-check=full',
      '--track-fds=yes',
      // Its threads run one at a time: in turn, or those that race starve the one that receives.
      '--fair-sched=yes',
      '--error-exitcode=99',
      `--log-file=${log}.%p`,
      // A detached thread that is just ending still has its stack.
      '--show-leak-kinds=definite,indirect',
      '--errors-for-leak-kinds=definite,indirect',
      program,
      ...titles,
    ],
    // A race under it takes long.
    { stdio: ['ignore', 'inherit', 'inherit'], env: { FDPASSER_VALGRIND: '1', FDPASSER_RACE: '5', ...process.env } },
  );
  const found = readdirSync(dirname(program))
    .filter((name) => name.startsWith('contract.log.'))
    .map((name) => readFileSync(join(dirname(program), name), 'utf8'))
    // What the parent had open is open in the child, and is not its own.
    .map((text) => text.replaceAll(/.*Open (?:file descriptor|AF_\w+ socket) \d+:.*\n.*<inherited from parent>\n/g, ''))
    .filter((text) =>
      /Open (?:file descriptor|AF_)|definitely lost|indirectly lost|possibly lost|Invalid|uninitialised/.test(text),
    );
  for (const text of found) console.log(text);
  return status !== 0 || found.length > 0;
}

rmSync(build, { recursive: true, force: true });
for (const each of INTERFACES) {
  const program = compile(each);
  console.log(`# ${each.name}: ${each.title}`);
  const failed = flags.has('--valgrind')
    ? runUnderValgrind(program)
    : spawnSync(program, titles, { stdio: 'inherit' }).status !== 0;
  if (failed) process.exitCode = 1;
}
