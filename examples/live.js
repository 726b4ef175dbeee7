/**
 * A web page that stays connected while its server is replaced: `npm run demo:live`, or
 * `node examples/live.js [PORT [PORT OF THE EVENT STREAM]]`.
 *
 * This process starts live-server.js, and starts it once more whenever the page asks for that. The new process takes
 * over from the old one with fdpasser/takeover, and the old one ends.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [port = '8080', streamPort = `${Number(port) + 1}`] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'fdpasser-live-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const running = new Set();
start();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => running.forEach((child) => child.kill()));

function start() {
  const child = fork(`${import.meta.dirname}/live-server.js`, [join(folder, 'control'), port, streamPort]);
  running.add(child);
  child.on('message', start); // it says nothing but that
  child.on('exit', (code, signal) => {
    running.delete(child);
    console.log(`process ${child.pid} has ended with ${signal ?? code}`);
    if (running.size === 0) process.exitCode = code ?? 0;
  });
}
