/**
 * Compiles the C core into prebuilds/ with the system's C compiler ($CC, else cc), against npm's Node-API headers.
 *
 *   node scripts/build-native.js              what is published
 *   node scripts/build-native.js --strict     with warnings as errors
 *   node scripts/build-native.js --sanitize   with AddressSanitizer and UndefinedBehaviorSanitizer
 *
 * FDPASSER_INTERFACE: bsd44, bsd43 or sysv, instead of what scripts/interface.js finds.
 * FDPASSER_PEEK=off: on Linux, receives as systems must that cannot peek.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { include_dir as headers } from 'node-api-headers';
import { findInterface } from './interface.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const flags = new Set(process.argv.slice(2));

const sources = ['native', 'native/transport', 'native/poller'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.c'))
    .map((name) => join(root, folder, name)),
);
const output = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
mkdirSync(output, { recursive: true });

const warnings = ['-Wall', '-Wextra', '-Wshadow', '-Wconversion', ...(flags.has('--strict') ? ['-Werror'] : [])];
const mode = flags.has('--sanitize')
  ? ['-O1', '-g', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined']
  : ['-O2', '-s'];

const peek = process.env.FDPASSER_PEEK === 'off' ? ['-DFDP_PEEK=0'] : [];

const compiler = process.env.CC ?? 'cc';

execFileSync(
  compiler,
  [
    '-std=gnu11',
    '-D_GNU_SOURCE',
    '-DNAPI_VERSION=8',
    '-fPIC',
    '-fvisibility=hidden',
    '-pthread',
    ...warnings,
    ...mode,
    ...findInterface(compiler).flags,
    ...peek,
    `-I${headers}`,
    '-shared',
    '-o',
    join(output, 'fdpasser.node'),
    // Never unloaded: a worker that ends must not take away code that another thread is running.
    '-Wl,-z,nodelete',
    ...sources,
    '-ldl',
  ],
  { stdio: 'inherit' },
);
