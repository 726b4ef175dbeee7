/**
 * Packs the package, installs it in an empty project without running scripts, and tries it there. It packs what is in
 * dist/ and prebuilds/.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { targets } from './targets.js';

const LARGEST = 640 * 1024;

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const work = mkdtempSync(join(tmpdir(), 'fdpasser-package-'));
after(() => rmSync(work, { recursive: true }));
// Variables of the npm that runs this must not reach the npm that it runs.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));

const options = { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 180_000, killSignal: 'SIGKILL' };

/**
 * Runs a program in `folder`, and returns its standard output. The program must exit with 0 and write nothing to
 * standard error.
 */
function run(folder, command, ...args) {
  const { status, signal, stdout, stderr } = spawnSync(command, args, { ...options, cwd: folder });
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' }, `${stdout}${stderr}`);
  return stdout;
}

const [pack] = JSON.parse(run(root, 'npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', work));
const tarball = join(work, pack.filename);

/** Makes an empty project and installs the package in it. */
function project(name) {
  const folder = join(work, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
  run(folder, 'npm', 'install', '--ignore-scripts', '--offline', '--no-audit', '--no-fund', tarball);
  return folder;
}

const user = project('user');

/** The README's example. */
const [parent, child] = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^```js\n(.*?)^```$/gms)].map(
  ([, code]) => code,
);

/** Writes both files of the example to a folder of a project, changed by `change`. */
function writeExample(folder, extension, change = (code) => code) {
  mkdirSync(folder);
  writeFileSync(join(folder, `parent.${extension}`), change(parent));
  writeFileSync(join(folder, `child.${extension}`), change(child));
}

function runExample(folder) {
  const output = run(folder, process.execPath, 'parent.js');
  assert.match(output, /^pid \d+ opened .*\npid \d+ received parent.js as descriptor \d+; its first line is: .+\n$/);
}

/** The error of the import in a process that is started with `flags` and runs `before` first. */
function failureOfImport(folder, { flags = [], before = '' }) {
  const script = `
    ${before};
    const error = await import('fdpasser').then(() => new Error('it loads'), (error) => error);
    console.log(JSON.stringify({ code: error.code, message: error.message }));
  `;
  return JSON.parse(run(folder, process.execPath, ...flags, '--input-type=module', '-e', script));
}

function check(title, body) {
  void test(title, body);
}

/** Code that gives a property of `process` another value. */
function pretend(name, value) {
  return `Object.defineProperty(process, '${name}', { value: '${value}' })`;
}

check(`the packed package has at most ${LARGEST} bytes`, () => {
  console.log(`${pack.filename}: ${pack.size} bytes, unpacked ${pack.unpackedSize}, in ${pack.files.length} files`);
  assert.ok(pack.size <= LARGEST);
});

check('it has a core for every system that is promised, and no others', () => {
  const cores = pack.files.map(({ path }) => path).filter((path) => path.endsWith('.node'));
  const promised = Object.keys(targets).map((name) => `prebuilds/${name}/fdpasser.node`);
  assert.deepEqual(cores.toSorted(), promised.toSorted());
});

check('it runs nothing when it is installed, and needs no other package', () => {
  const { scripts, dependencies } = JSON.parse(readFileSync(join(user, 'node_modules/fdpasser/package.json'), 'utf8'));
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(scripts[name], undefined);
  assert.equal(dependencies, undefined);
});

check('publint finds nothing', () => {
  run(root, join(here, 'node_modules/.bin/publint'), tarball, '--strict');
});

check("the README's example runs as a module", () => {
  const folder = join(user, 'module');
  writeExample(folder, 'js');
  runExample(folder);
});

check("the README's example runs with require()", () => {
  const folder = join(user, 'commonjs');
  writeExample(folder, 'js', (code) => `(async () => {\n${asCommonJs(code)}})();\n`);
  writeFileSync(join(folder, 'package.json'), '{ "type": "commonjs" }');
  runExample(folder);
});

function asCommonJs(code) {
  return code
    .replaceAll(/^import (\{.*\}) from ('.*');$/gm, 'const $1 = require($2);')
    .replaceAll(/import\.meta\.(dir|file)name/g, '__$1name');
}

for (const [name, options] of Object.entries({
  nodenext: { module: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
}))
  check(`the README's example is right TypeScript under ${name}, and runs`, () => {
    const folder = join(user, name);
    writeExample(folder, 'ts');
    compileTypeScript(folder, options);
    runExample(join(folder, 'compiled'));
  });

check('its entry points share one OwnedFd, and have types', () => {
  const folder = join(user, 'entries');
  mkdirSync(folder);
  writeFileSync(
    join(folder, 'file.ts'),
    "import { OwnedFd } from 'fdpasser';\n" +
      "import { listenFds } from 'fdpasser/systemd';\n" +
      "process.env['LISTEN_PID'] = String(process.pid);\n" +
      "process.env['LISTEN_FDS'] = '0';\n" +
      'const passed: OwnedFd[] | undefined = listenFds().get("web");\n' +
      'if (passed !== undefined) throw new Error("nothing was passed");\n',
  );
  compileTypeScript(folder, { module: 'nodenext' });
  run(join(folder, 'compiled'), process.execPath, 'file.js');
});

for (const module of ['node16', 'nodenext'])
  check(`its types are right in a CommonJS file under ${module}`, () => {
    const folder = join(user, `commonjs-types-${module}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), '{ "type": "commonjs" }');
    writeFileSync(
      join(folder, 'file.ts'),
      "import { FdPasser, type OwnedFd } from 'fdpasser';\n" +
        'const passer: FdPasser = new FdPasser();\n' +
        'const peer: OwnedFd = passer.peer;\n' +
        'peer.close();\n' +
        'passer.destroy();\n',
    );
    compileTypeScript(folder, { module });
    run(join(folder, 'compiled'), process.execPath, 'file.js');
  });

/** Also checks the library's own declarations: a user without skipLibCheck sees their errors. */
function compileTypeScript(folder, options) {
  mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
  symlinkSync(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
  const always = { strict: true, target: 'es2022', types: ['node'], rootDir: '.', outDir: 'compiled' };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: { ...always, ...options } }));
  run(folder, process.execPath, join(root, 'node_modules/typescript/bin/tsc'), '-p', '.');
}

check('on Windows the import says where it works, and what to use there', () => {
  const { code, message } = failureOfImport(user, { before: pretend('platform', 'win32') });
  assert.equal(code, 'ERR_FDPASSER_ADDON');
  assert.match(message, /Windows.*Linux.*WSL.*macOS.*FreeBSD.*child_process/);
});

check('where the package has no core, the import says for what, and how to compile one', () => {
  const { code, message } = failureOfImport(user, { before: pretend('arch', 'riscv64') });
  assert.equal(code, 'ERR_FDPASSER_ADDON');
  assert.match(message, new RegExp(`no native core for ${process.platform}-riscv64.*"npx fdpasser build"`));
});

check('where the permission model hides the program file, the right core is found all the same', () => {
  const permission = process.allowedNodeEnvironmentFlags.has('--permission')
    ? '--permission'
    : '--experimental-permission';
  const flags = ['--no-warnings', permission, '--allow-addons', `--allow-fs-read=${work}/*`];
  assert.equal(failureOfImport(user, { flags }).message, 'it loads');
});

check("a process of musl gets musl's core; one that does not load is named, with the reason", () => {
  const program = join(work, 'musl');
  writeFileSync(program, '\x7fELF /lib/ld-musl-x86_64.so.1');
  const { code, message } = failureOfImport(user, { before: pretend('execPath', program) });
  assert.equal(code, 'ERR_FDPASSER_ADDON');
  assert.match(
    message,
    /does not load here: .*libc\.so.*prebuilds\/linux-\w+-musl\/fdpasser\.node.*"npx fdpasser build"/,
  );
});

check('npx fdpasser passes a file from one shell to another', () => {
  const shell =
    'npx --offline fdpasser recv socket -- cat {} & npx --offline fdpasser send --timeout 60 socket file && wait';
  writeFileSync(join(user, 'file'), 'passed');
  assert.equal(run(user, 'sh', '-c', shell), 'passed');
});

check('npx fdpasser build compiles a core from the package alone, and the example runs with it', () => {
  const bare = project('bare');
  rmSync(join(bare, 'node_modules/fdpasser/prebuilds'), { recursive: true });
  assert.match(failureOfImport(bare, {}).message, /no native core/);
  const output = run(bare, 'npx', '--offline', 'fdpasser', 'build');
  assert.match(output, /^Compiled .*\/bare\/node_modules\/fdpasser\/build\/.*, and it loads\.\n$/);
  writeExample(join(bare, 'module'), 'js');
  runExample(join(bare, 'module'));
});
