/**
 * Checks the examples in the documents against the types. The programs of docs/guides are complete, and are run
 * instead.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ended } from '../support/child.js';
import { test } from '../support/test.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const place = fileURLToPath(new URL('../../doc-examples', import.meta.url));

/** What examples leave out: imports of modules, and names that the text around an example explains. */
const CONTEXT = `
  import type * as library from 'fdpasser';
  import type * as childProcess from 'node:child_process';
  import type * as fs from 'node:fs';
  import type * as http from 'node:http';
  import type * as netModule from 'node:net';
  import type * as readlineModule from 'node:readline';

  declare global {
    const fstatSync: typeof fs.fstatSync;
    const openSync: typeof fs.openSync;
    const spawn: typeof childProcess.spawn;
    const net: typeof netModule;
    const readline: typeof readlineModule;

    const channel: library.FdChannel<any>;
    const passer: library.FdPasser;
    const fd: library.OwnedFd;
    const owned: library.OwnedFd;
    const listener: library.OwnedFd;
    const server: http.Server & library.FdServer;
    const socket: netModule.Socket;
    const serve: (...given: unknown[]) => void;
    const workerFor: (...given: unknown[]) => library.FdPasser;
  }
`;

const OPTIONS = {
  allowJs: true,
  checkJs: true,
  strict: false,
  noEmit: true,
  skipLibCheck: true,
  target: 'esnext',
  module: 'nodenext',
  types: ['node'],
};

function documents(): string[] {
  const pages = readdirSync(`${root}/docs`).map((name) => `docs/${name}`);
  return ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...pages].filter((name) => name.endsWith('.md'));
}

/** What the package exports, from each of its entry points, as if every example had imported it. */
async function exported(): Promise<string> {
  const { exports } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { exports: Record<string, unknown> };
  const entries = Object.keys(exports).filter((name) => !name.includes('json'));
  const names = entries.map(async (name) => {
    const entry = name.replace('.', 'fdpasser');
    const all = Object.keys((await import(entry)) as object);
    return all.map((one) => `declare const ${one}: typeof import('${entry}').${one};\n`);
  });
  return [...new Set((await Promise.all(names)).flat())].join('');
}

// Before the tests, since the import opens descriptors.
const EXPORTED = await exported();

/** Writes each example to a file named after its document and line. Returns how many there are. */
function unpack(extra: Record<string, string> = {}): number {
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  writeFileSync(`${place}/context.d.ts`, CONTEXT);
  writeFileSync(`${place}/exported.d.ts`, EXPORTED);
  writeFileSync(`${place}/tsconfig.json`, JSON.stringify({ compilerOptions: OPTIONS, include: ['*'] }));
  for (const [name, code] of Object.entries(extra)) writeFileSync(`${place}/${name}`, code);
  let count = 0;
  for (const document of documents()) {
    const text = readFileSync(`${root}/${document}`, 'utf8');
    for (const { 1: language, 2: code, index } of text.matchAll(/^```(js|ts)\n(.*?)^```$/gms)) {
      const line = text.slice(0, index).split('\n').length;
      writeFileSync(`${place}/${document.replace('/', '-')}-${line}.${language}`, `${code}\nexport {};\n`);
      count++;
    }
  }
  return count;
}

async function check(): Promise<string> {
  const { stdout } = await ended(spawn(`${root}/node_modules/.bin/tsc`, ['-p', place]));
  return stdout;
}

test('every example in the documents has names, arguments and options that the types have', async () => {
  assert.ok(unpack() > 20);
  assert.equal(await check(), '');
});

test('an example with a name or an option that the types do not have is detected', async () => {
  unpack({ 'wrong.js': "listenn('/path');\nconst a = listen('/path', { backlogg: 1 });\nexport {};\n" });
  const said = await check();
  assert.match(said, /wrong\.js\(1,1\): error TS2552: Cannot find name 'listenn'/);
  assert.match(said, /wrong\.js\(2,.*backlogg/);
});
