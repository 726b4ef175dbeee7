/**
 * Makes a folder with what Bun for musl needs besides musl itself: the C++ library, which Debian has only for glibc.
 * Its position-independent archive (libstdc++-12-pic) is linked with musl, as far as the program needs it.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const names = join(dirname(dirname(fileURLToPath(import.meta.url))), 'test/runtimes/glibc-names.c');

const run = (command, args) => execFileSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });

/** The names that `file` defines, or with `--dynamic` also those that it needs, without their versions. */
const namesIn = (file, ...options) =>
  run('nm', ['--quiet', '--format=posix', ...options, file])
    .split('\n')
    .map((line) => line.split(/[ @]/, 1)[0]);

/** Makes the folder for LD_LIBRARY_PATH of `program`. */
export function makeMuslLibraries(program, folder) {
  mkdirSync(folder, { recursive: true });
  const archive = run('gcc', ['-print-file-name=libstdc++_pic.a']).trim();
  const there = new Set(namesIn(archive, '--defined-only'));
  const wanted = namesIn(program, '--dynamic').filter((name) => there.has(name));
  const output = join(folder, 'libstdc++.so.6');
  const flags = ['-shared', '-fPIC', '-o', output, '-Wl,-soname,libstdc++.so.6'];
  for (const name of wanted) flags.push(`-Wl,-u,${name}`);
  run('musl-gcc', [...flags, names, archive, '-l:libgcc_eh.a', '-l:libgcc.a']);
}
