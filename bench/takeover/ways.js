/**
 * Ways to replace a server. `start` resolves, when it serves, with `replace()`, which resolves when the new one serves
 * and the old one has ended, and with `end()`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { file, freePort, Process } from './processes.js';

export const REGISTER = file('../../dist/bundle/takeover-register.js');
const PM2 = 'pm2@7.0.4';
/** How long an old process has to end by itself, as with pm2. Milliseconds. */
const GRACE = 1600;

async function inOwnFolder(body) {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-bench-'));
  try {
    return await body(folder);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** A server, with takeover if there is a control path. */
export async function startApp(port, control, name = 'app.cjs') {
  const env = { BENCH_PORT: String(port), FDPASSER_TAKEOVER: control ?? '', FDPASSER_TAKEOVER_PROBATION: '200' };
  const app = new Process(name, { env, execArgv: control === undefined ? [] : ['--import', REGISTER] });
  await app.says();
  return app;
}

function startTakeover(port) {
  return inOwnFolder(async (folder) => {
    const control = join(folder, 'control');
    let app = await startApp(port, control);
    return {
      async replace() {
        const old = app;
        app = await startApp(port, control);
        await old.exit;
      },
      async end() {
        await app.end();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  });
}

/** Nothing is replaced: a second program starts beside the server, and ends. */
async function startBeside(port) {
  const app = await startApp(port);
  return {
    async replace() {
      const other = await startApp(await freePort());
      await other.end();
    },
    end: () => app.end(),
  };
}

async function startNaively(port) {
  let app = await startApp(port);
  return {
    async replace() {
      app.child.kill();
      await Promise.race([app.exit, sleep(GRACE, undefined, { ref: false })]);
      await app.end();
      app = await startApp(port);
    },
    end: () => app.end(),
  };
}

async function startCluster(port) {
  const primary = new Process('cluster.cjs', { env: { BENCH_PORT: String(port) } });
  const serves = async () => {
    while ((await primary.says()) !== 'serves');
  };
  await serves();
  return {
    async replace() {
      primary.child.send('reload');
      await serves();
    },
    async end() {
      primary.child.disconnect();
      await primary.exit;
    },
  };
}

let installed;

/** Installs pm2 into a folder of its own, once. Says why, where that fails. */
export function installPm2(progress) {
  progress('installing pm2');
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-bench-pm2-'));
  const args = ['install', PM2, '--prefix', folder, '--no-audit', '--no-fund', '--ignore-scripts'];
  const { status, stderr } = spawnSync('npm', args, { encoding: 'utf8' });
  if (status === 0) installed = folder;
  else progress(`pm2 does not install: ${stderr}`);
}

export function removePm2() {
  if (installed !== undefined) rmSync(installed, { recursive: true, force: true });
}

async function startPm2(port) {
  const run = async (...args) => {
    const env = { ...process.env, PM2_HOME: join(installed, 'home'), BENCH_PORT: String(port) };
    const bin = join(installed, 'node_modules/pm2/bin/pm2');
    const child = spawn(process.execPath, [bin, ...args], { env, stdio: 'ignore' });
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`pm2 ${args.join(' ')} ended with ${code}`);
  };
  await run('start', file('app.cjs'), '-i', '1', '--name', 'app');
  return { replace: () => run('reload', 'app'), end: () => run('kill') };
}

export const ways = {
  takeover: { title: 'fdpasser/takeover/register', start: startTakeover },
  beside: { title: 'nothing: another process starts beside it', start: startBeside },
  cluster: { title: "node:cluster's workers, one after the other", start: startCluster },
  pm2: {
    title: '`pm2 reload`',
    start: startPm2,
    missing: () => (installed === undefined ? 'is not installed' : undefined),
  },
  naive: { title: '`close()`, and started anew', start: startNaively },
};
