/**
 * Fuzzes the code that receives descriptors (test/fuzz/receive.c) under libFuzzer, AddressSanitizer and
 * UndefinedBehaviorSanitizer, while somebody shares the socket (test/contract/emulation/shared.h). It begins with the
 * inputs in test/fuzz/corpus.txt: one on each line, in base64.
 *
 * npm run fuzz -- [--seconds S] [--keep]
 *
 * With --keep, new inputs go into the corpus, minimised. An input that fails is left in build/fuzz/, and
 * "build/fuzz/receive FILE" repeats it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { TRANSPORTS } from '../src/cli/transports.js';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '600' }, keep: { type: 'boolean' } } });
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const inputs = join(root, 'test/fuzz/corpus.txt');
const build = join(root, 'build/fuzz');
const program = join(build, 'receive');
const corpus = join(build, 'corpus');
const found = join(build, 'found');
const MOST_BYTES = 400;

mkdirSync(found, { recursive: true });
unpack();
const flags = `-std=gnu11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Wshadow -Wconversion -Werror
  -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all`;
const shared = join(root, 'test/contract/emulation/shared');
const object = join(build, 'shared.o');
const sources = [
  'test/fuzz/receive.c',
  'native/accept.c',
  'native/close.c',
  'native/descriptor.c',
  'native/detached.c',
  'native/lane.c',
  'native/nature.c',
  'native/origin.c',
  ...TRANSPORTS.linux.files.map((name) => `native/transport/${name}.c`),
];
const clang = (...args) => execFileSync('clang', [...flags.split(/\s+/), ...args], { stdio: 'inherit' });
clang('-c', '-o', object, `${shared}.c`);
const core = sources.map((source) => join(root, source));
clang(...TRANSPORTS.linux.flags, '-include', `${shared}.h`, '-o', program, object, ...core);

const options = [`-max_len=${MOST_BYTES}`, '-len_control=10', `-artifact_prefix=${build}/`];
const { status } = spawnSync(
  program,
  [...options, `-max_total_time=${values.seconds}`, '-print_final_stats=1', found, corpus],
  { stdio: 'inherit' },
);
if (status !== 0) process.exitCode = 1;
else if (values.keep) {
  const minimised = join(build, 'minimised');
  rmSync(minimised, { recursive: true, force: true });
  mkdirSync(minimised);
  execFileSync(program, [...options, '-merge=1', minimised, corpus, found], { stdio: 'inherit' });
  keep(minimised);
}

function unpack() {
  rmSync(corpus, { recursive: true, force: true });
  mkdirSync(corpus);
  const lines = readFileSync(inputs, 'utf8').trimEnd().split('\n');
  for (const [index, line] of lines.entries()) writeFileSync(join(corpus, `${index}`), Buffer.from(line, 'base64'));
}

function keep(folder) {
  const lines = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'base64'));
  writeFileSync(inputs, `${lines.toSorted().join('\n')}\n`);
}
