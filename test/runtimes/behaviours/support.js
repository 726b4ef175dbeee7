/** What the behaviour programs share: only what Node, Bun and Deno all have. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fstatSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FdPasser, socketpair } from 'fdpasser';

export const runtime = process.versions.bun ? 'bun' : process.versions.deno ? 'deno' : 'node';

/**
 * Where a process finds its descriptors by their numbers. FreeBSD shows all of them once fdescfs(5) is mounted there.
 */
const OPEN = process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd';

/** The numbers of what is open, one of which is for reading the folder. */
export const openDescriptors = () => readdirSync(OPEN).map(Number);

/** The stat of a descriptor, by its name, because Deno's fs takes no raw numbers. */
export const statOf = (fd) => statSync(`${OPEN}/${fd}`, { bigint: true });

/** Device and inode. */
export function identity(fd) {
  const { dev, ino } = runtime === 'node' ? fstatSync(fd, { bigint: true }) : statOf(fd);
  return `${dev}:${ino}`;
}

const folder = mkdtempSync(join(tmpdir(), 'fdpasser-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

export function pathFor(name) {
  return join(folder, name);
}

let files = 0;

/** A new file, unlike every other. */
export function newFile(text = '') {
  const path = pathFor(`file-${files++}`);
  writeFileSync(path, text);
  return openSync(path, 'r+');
}

export function passers(options = {}) {
  const [a, b] = socketpair();
  return [new FdPasser({ ...options, fh: a }), new FdPasser({ ...options, fh: b })];
}

/** Sends new files, and returns their identities. */
export function sendNew(passer, count) {
  return Array.from({ length: count }, () => {
    const fd = newFile();
    const file = identity(fd);
    passer.pushSendFh(fd);
    return file;
  });
}

/** Receives and closes, and returns identities. */
export async function receiveFiles(passer, count) {
  const received = [];
  for (let i = 0; i < count; i++) {
    const fd = await passer.receive();
    received.push(identity(fd.fd));
    fd.close();
  }
  return received;
}

/** Runs children/NAME.js in this runtime, with `peer` as its descriptor 3. `limit` is of descriptors. */
export function startChild(name, { peer, limit, env = {}, stdout = 'pipe' } = {}) {
  const script = fileURLToPath(new URL(`children/${name}.js`, import.meta.url));
  const command = [...JSON.parse(process.env.RUNTIME), script];
  const options = { stdio: ['ignore', stdout, 'inherit', peer ?? 'ignore'], env: { ...process.env, ...env } };
  return limit === undefined
    ? spawn(command[0], command.slice(1), options)
    : spawn('sh', ['-c', `ulimit -n ${limit} && exec "$@"`, 'sh', ...command], options);
}

/** The end of a child, with what it wrote. */
export function ended(child) {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => (output += text));
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, output }));
  });
}

export async function assertOrderly(end) {
  const { code, signal, output } = await end;
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, output);
  return output;
}
