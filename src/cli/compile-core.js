/**
 * Compiles the C core. Only this file knows its sources and flags. `npx fdpasser build`, scripts/build-native.js and
 * scripts/package/prebuild.js use it. It is JavaScript because it runs before TypeScript is compiled.
 *
 * FDPASSER_INTERFACE: bsd44, bsd43 or sysv, instead of what interface.js finds. FDPASSER_PEEK=off: on Linux, receives
 * as on systems that cannot peek.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findInterface } from './interface.js';
import { transportOf } from './transports.js';

/** The package: `src/cli/`, `dist/cli/` and `dist/bundle/` are equally deep. */
const root = fileURLToPath(new URL('../../', import.meta.url));

/** Node-API's headers: those in the package, or in a clone those of npm's `node-api-headers`. */
const packed = join(root, 'include');
const headers = existsSync(packed) ? packed : (await import('node-api-headers')).include_dir;

/** The sources of every transport. */
const always = ['native', 'native/poller'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.c'))
    .map((name) => join(root, folder, name)),
);

export const transportSources = ({ files }) => files.map((name) => join(root, 'native', 'transport', `${name}.c`));

/** All sources of a core with this transport. */
export const sources = (transport) => [...always, ...transportSources(transport)];

const standard = ['-std=gnu11', '-D_GNU_SOURCE', '-DNAPI_VERSION=8', '-fPIC', '-fvisibility=hidden', '-pthread'];
export const warnings = ['-Wall', '-Wextra', '-Wshadow', '-Wconversion'];

/** The flags for every source. */
export const common = [...standard, `-I${headers}`];

/** The flags to link a library. Functions of Node are found when it is loaded. */
const library = {
  darwin: ['-shared', '-undefined', 'dynamic_lookup'],
  // Never unloaded: a worker that ends must not remove code that another thread is running. On macOS the C code itself
  // ensures this.
  elf: ['-shared', '-Wl,-z,nodelete'],
};

/**
 * Compiles a file named `output` for `platform`, with the command `compiler` and its first arguments. The compiler's
 * output goes where this process's own output goes. Throws if the compiler fails.
 */
export function compile({ compiler, platform, output, flags, transport = transportOf('bsd44', platform) }) {
  mkdirSync(dirname(output), { recursive: true });
  const [command, ...first] = compiler;
  const kind = library[platform] ?? library.elf;
  const libraries = platform === 'linux' ? ['-ldl'] : [];
  const all = [...common, ...flags, ...transport.flags, ...kind, '-o', output, ...sources(transport), ...libraries];
  execFileSync(command, [...first, ...all], { stdio: 'inherit' });
}

/**
 * Compiles for this system with its own compiler, where the loader looks first, and returns the file. The file appears
 * there when it is whole and `prove` has not thrown; `prove` gets its temporary name. Otherwise the file that was there
 * stays.
 *
 * @param {string[]} flags
 * @param {(file: string) => void} [prove]
 */
export function compileHere(flags, prove = () => {}) {
  const compiler = ownCompiler();
  const folder = join(root, 'build', `${process.platform}-${process.arch}`);
  const output = join(folder, 'fdpasser.node');
  const unproven = join(folder, `unproven-${process.pid}.node`);
  const found = findInterface(compiler);
  const transport = transportOf(found.name, process.platform, process.env.FDPASSER_PEEK !== 'off');
  const made = mkdirSync(folder, { recursive: true });
  try {
    compile({ compiler, platform: process.platform, output: unproven, flags: [...flags, ...found.flags], transport });
    if (!existsSync(unproven)) throw new Error(`${compiler.join(' ')} reported success, but wrote no file`);
    prove(unproven);
    renameSync(unproven, output);
  } catch (error) {
    rmSync(unproven, { force: true });
    if (made !== undefined) leave(folder, made);
    throw error;
  }
  return output;
}

/** Removes the folder, and those above it up to `topmost`, unless another build has put something there. */
function leave(folder, topmost) {
  try {
    rmdirSync(folder);
  } catch {
    return;
  }
  if (folder !== topmost) leave(dirname(folder), topmost);
}

/** A command and its first arguments. */
function ownCompiler() {
  const compiler = (process.env.CC ?? 'cc').split(/\s+/).filter(Boolean);
  if (compiler.length > 0) return compiler;
  throw new Error('CC is set in the environment, but empty. Set it to a C compiler, or unset it to use cc');
}
