/**
 * Replaces programs that know nothing of fdpasser, as npm has them today, under load:
 *
 *   npm run test:programs -- [--workers N] [NAME …]     of test/programs/
 *
 * Each is fetched into a temporary folder of its own, and started by `fdpasser exec -- npm start`.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const command = join(root, 'dist/bundle/cli.js');
const REPLACEMENTS = 5;
/** Requests that are under way at a time: over connections that are kept alive, and over new ones. */
const KEPT = 4;
const NEW = 2;

const PROGRAMS = {
  express: { packages: ['express'], scripts: { start: 'node server.js' } },
  fastify: { packages: ['fastify'], scripts: { start: 'node server.js' } },
  next: { packages: ['next', 'react', 'react-dom'], scripts: { build: 'next build', start: 'next start -p $PORT' } },
  'socket.io': {
    packages: ['socket.io', 'socket.io-client'],
    scripts: { start: 'node server.js' },
    clients: { websocket: ['websocket'], default: ['polling', 'websocket'], polling: ['polling'] },
  },
};

/** Asks again and again, and notes who answers. */
class Load {
  pids = new Set();
  errors = [];
  answered = 0;
  #stopped = false;
  #loop;

  constructor(port, agent) {
    this.#loop = this.#run(port, agent);
  }

  async #run(port, agent) {
    while (!this.#stopped) {
      try {
        this.pids.add(await ask(port, agent));
        this.answered++;
      } catch (error) {
        this.errors.push(error);
      }
    }
  }

  async stop() {
    this.#stopped = true;
    await this.#loop;
  }
}

const { values, positionals: wanted } = parseArgs({
  options: { workers: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const workers = Number(values.workers);
for (const name of wanted.length === 0 ? Object.keys(PROGRAMS) : wanted) await tryProgram(name, PROGRAMS[name]);

async function tryProgram(name, { packages, scripts, clients = {} }) {
  const folder = mkdtempSync(join(tmpdir(), `fdpasser-${name}-`));
  try {
    fetchInto(folder, name, packages, scripts);
    const port = await freePort();
    const { child, end, told } = start(folder, port);
    try {
      await until(() => asks(port));
      const watched = Object.entries(clients)
        .filter(([, transports]) => workers === 1 || !transports.includes('polling')) // a session is of one worker
        .map(([client, transports]) => watch(folder, port, client, transports));
      const { answered, pids } = await replaceUnderLoad(folder, port);
      const versions = packages.map((one) => `${one} ${versionOf(folder, one)}`).join(', ');
      console.log(
        `${versions}: ${REPLACEMENTS} replacements, ${answered} requests answered by ${pids} processes, 0 failed`,
      );
      for (const client of watched) console.log(`  ${await client()}`);
    } catch (error) {
      console.error(told());
      throw error;
    } finally {
      child.kill('SIGTERM');
      await end;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function fetchInto(folder, name, packages, scripts) {
  cpSync(join(root, 'test/programs', name), folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module', scripts }));
  run(folder, 'npm', 'install', '--no-audit', '--no-fund', ...packages);
  if (scripts.build !== undefined) run(folder, 'npm', 'run', 'build');
}

function run(folder, ...[program, ...args]) {
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1' };
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, env, encoding: 'utf8' });
  assert.equal(status, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}`);
}

function versionOf(folder, name) {
  return JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')).version;
}

function start(folder, port) {
  const args = [command, 'exec', '--workers', values.workers, '--control', 'control', '--', 'npm', 'start', '--silent'];
  const env = { ...process.env, PORT: `${port}` };
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] });
  let told = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (told += text));
  return { child, end: once(child, 'exit'), told: () => told };
}

async function replaceUnderLoad(folder, port) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: KEPT });
  const kept = Array.from({ length: KEPT }, () => new Load(port, agent));
  const loads = [...kept, ...Array.from({ length: NEW }, () => new Load(port, false))];
  for (let count = 0; count < REPLACEMENTS; count++) {
    const reload = spawn(process.execPath, [command, 'reload', 'control'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const [code] = await once(reload, 'exit');
    assert.equal(code, 0, 'reload');
  }
  await Promise.all(loads.map((load) => load.stop()));
  agent.destroy();
  assert.deepEqual(
    loads.flatMap(({ errors }) => errors),
    [],
  );
  const pids = new Set(loads.flatMap((load) => [...load.pids]));
  assert.ok(pids.size > REPLACEMENTS && pids.size <= workers * (REPLACEMENTS + 1), `${pids.size}`);
  return { answered: loads.reduce((sum, load) => sum + load.answered, 0), pids: pids.size };
}

/** Resolves with the pid of who answers. */
function ask(port, agent = false) {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: 'localhost', port, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => {
        const [, pid] = /pid (\d+)/.exec(text) ?? [];
        if (pid === undefined) reject(new Error(`${response.statusCode} ${text.slice(0, 200)}`));
        else resolve(pid);
      });
    });
    request.on('error', reject);
  });
}

async function asks(port) {
  return ask(port).then(
    () => true,
    () => false,
  );
}

async function until(isTrue) {
  const deadline = performance.now() + 60_000;
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error('it does not answer');
    await setTimeout(100);
  }
}

/** A client of socket.io that asks all the time. Returns what tells how it fared. */
function watch(folder, port, name, transports) {
  const require = createRequire(pathToFileURL(join(folder, 'package.json')));
  const { io } = require('socket.io-client');
  const socket = io(`http://localhost:${port}`, { transports });
  const disconnects = [];
  const pids = new Set();
  let answered = 0;
  let unanswered = 0;
  socket.on('disconnect', (reason) => disconnects.push(reason));
  const stop = new AbortController();
  const loop = (async () => {
    while (!stop.signal.aborted) {
      try {
        pids.add(await socket.timeout(5000).emitWithAck('ask'));
        answered++;
      } catch {
        unanswered++;
      }
      await setTimeout(10);
    }
  })();
  return async () => {
    await until(() => socket.connected);
    stop.abort();
    await loop;
    const ends = `${disconnects.length} connected anew (${[...new Set(disconnects)].join(', ')})`;
    socket.disconnect();
    const answers = `${answered} answers of ${pids.size} processes, ${unanswered} missing`;
    return `client, ${name}: ${answers}, ${ends}`;
  };
}

async function freePort() {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
