import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ended, type Ended } from '../support/child.js';
import { test, testInFull } from '../support/test.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const name = `${process.platform}-${process.arch}`;
const { glibcVersionRuntime } = (process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } })
  .header;
const prebuilt = `prebuilds/${name}-${glibcVersionRuntime === undefined ? 'musl' : 'glibc'}/fdpasser.node`;
const compiled = `build/${name}/fdpasser.node`;
const core = readFileSync(join(root, compiled));

/** A copy of the package, with `cores` in it. */
class Package {
  readonly folder = mkdtempSync(join(tmpdir(), 'fdpasser-core-'));

  constructor(...cores: string[]) {
    for (const part of ['package.json', 'dist/bundle', 'native', 'scripts'])
      cpSync(join(root, part), join(this.folder, part), {
        recursive: true,
        filter: (file) => !/node_modules/.test(file),
      });
    mkdirSync(join(this.folder, 'include'));
    for (const file of cores) {
      mkdirSync(dirname(join(this.folder, file)), { recursive: true });
      writeFileSync(join(this.folder, file), core);
    }
  }

  truncate(file: string, length: number): void {
    truncateSync(join(this.folder, file), length);
  }

  import(): Promise<Ended> {
    return this.#run(['--input-type=module', '-e', `await import('${this.folder}/dist/bundle/index.js')`]);
  }

  /**
   * `npx fdpasser build` with a shell script as its compiler, unless `env` names another. The script must write
   * `$output`.
   */
  build(compiler: string, env: Record<string, string> = {}): Promise<Ended> {
    const file = join(this.folder, 'compiler');
    writeFileSync(
      file,
      `#!/bin/sh
      case "$*" in *-fsyntax-only*) exit 0;; esac
      while [ $# -gt 0 ]; do [ "$1" = -o ] && output=$2; shift; done
      ${compiler}\n`,
      { mode: 0o755 },
    );
    return this.#run([join(this.folder, 'scripts/fdpasser.js'), 'build'], { CC: file, ...env });
  }

  /** The files in the folder of the compiled core. */
  get built(): string[] {
    return readdirSync(join(this.folder, 'build'), { recursive: true }) as string[];
  }

  #run(args: string[], env: Record<string, string> = {}): Promise<Ended> {
    return ended(spawn(process.execPath, args, { env: { ...process.env, ...env } }));
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

const LOADED = { code: 0, signal: null, stdout: '', stderr: '' };
const copiesGoodOne = `cp '${join(root, compiled)}' "$output"`;

test('a core that is cut short anywhere is reported as such, and kills no process', async () => {
  using it = new Package(prebuilt);
  for (const length of [core.length - 1, core.length >> 1, 4096, 100, 10, 0]) {
    it.truncate(prebuilt, length);
    const { code, signal, stderr } = await it.import();
    assert.deepEqual({ code, signal }, { code: 1, signal: null }, `${length} bytes: ${stderr}`);
    assert.match(stderr, /ERR_FDPASSER_ADDON/);
    assert.match(stderr, /does not load here: .*(?:cut short, at \d+ of its \d+ bytes|too short).*prebuilds/);
  }
});

test('where a compiled core does not load, the one of the package does, with a warning', async () => {
  using it = new Package(compiled, prebuilt);
  it.truncate(compiled, 4096);
  const { code, stderr } = await it.import();
  assert.equal(code, 0);
  assert.match(stderr, /FdPasserWarning: .*cut short.*build\/.*prebuilds\/.* is used instead\./);
});

test('where no core loads, the error has the reason of each', async () => {
  using it = new Package(compiled, prebuilt);
  it.truncate(compiled, 4096);
  it.truncate(prebuilt, 8192);
  const { code, stderr } = await it.import();
  assert.equal(code, 1);
  assert.match(stderr, /at 4096 of .*\/build\/.*; .*at 8192 of .*\/prebuilds\//);
});

for (const [what, compiler, says] of [
  ['fails half way', 'printf half > "$output"; exit 1', /compiler failed; see its messages above/],
  ['is killed half way', 'printf half > "$output"; kill -9 $$', /compiler was killed by SIGKILL/],
  ['writes nothing', 'exit 0', /reported success, but wrote no file/],
  [
    'writes what does not load',
    'printf half > "$output"',
    /does not load, so the core that was there before stays: [^]*too short/,
  ],
  [
    'writes what kills',
    `head -c 8192 '${join(root, compiled)}' > "$output"`,
    /does not load, [^]*(?:SIGBUS|SIGSEGV|AddressSanitizer)/,
  ],
] as const)
  test(`a compiler that ${what} changes nothing where a core was compiled before`, async () => {
    using it = new Package(compiled);
    const { code, stdout, stderr } = await it.build(compiler);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.match(stderr, says);
    assert.deepEqual(it.built.toSorted(), [name, `${name}/fdpasser.node`]);
    assert.deepEqual(await it.import(), LOADED);
  });

testInFull('a compiler that fails half way leaves nothing before the core of the package', async () => {
  using it = new Package(prebuilt);
  assert.equal((await it.build('printf half > "$output"; exit 1')).code, 1);
  assert.throws(() => it.built, { code: 'ENOENT' });
  assert.deepEqual(await it.import(), LOADED);
});

for (const [key, value] of [
  ['NODE_OPTIONS', '--no-addons'],
  ['FDPASSER_POLLER', 'nonesuch'],
] as const)
  test(`a good core is compiled where the environment alone forbids to load it: ${key}=${value}`, async () => {
    using it = new Package(compiled);
    it.truncate(compiled, 10);
    const { code, stdout, stderr } = await it.build(copiesGoodOne, { [key]: value });
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.match(stdout, /^Compiled .*\/fdpasser\.node, and it loads\.\n$/);
    assert.deepEqual(await it.import(), LOADED);
  });

testInFull('a build that fails leaves what another build made meanwhile', async () => {
  using it = new Package(prebuilt);
  assert.equal(
    (await it.build('printf whole > "${output%/*}/fdpasser.node"; printf half > "$output"; exit 1')).code,
    1,
  );
  assert.deepEqual(it.built.toSorted(), [name, `${name}/fdpasser.node`]);
});

testInFull('an import while a core is compiled gets a whole core', async () => {
  using it = new Package(compiled);
  const building = it.build(
    `printf half > "$output"; while [ ! -e '${it.folder}/go' ]; do sleep 0.01; done; ${copiesGoodOne}`,
  );
  assert.deepEqual(await it.import(), LOADED);
  appendFileSync(join(it.folder, 'go'), '');
  assert.equal((await building).code, 0);
  assert.deepEqual(await it.import(), LOADED);
});

for (const [CC, says] of [
  ['', /^CC is set in the environment, but empty/],
  ['  ', /^CC is set in the environment, but empty/],
  ['false', /^false does not compile even an empty C program: it ended with 1/],
  ['sh -c "exit 3"', /^sh -c "exit 3" does not compile even an empty C program: /],
  ['nonesuch', /^There is no C compiler "nonesuch" here/],
  ['/dev/null', /^The C compiler "\/dev\/null" cannot be started: .*EACCES/],
] as const)
  test(`the build with CC='${CC}' says what is wrong`, async () => {
    using it = new Package();
    const { code, stdout, stderr } = await it.build('', { CC });
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
    assert.match(stderr, says);
  });
