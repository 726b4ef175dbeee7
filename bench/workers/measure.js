/** Compares `fdpasser/workers` with node:cluster in both its modes, in turn. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { median, percentile } from '../statistics.js';

/** By the argument of parent.js. */
export const MODES = {
  fdpasser: 'fdpasser/workers',
  'round-robin': '`node:cluster`, SCHED_RR',
  shared: '`node:cluster`, SCHED_NONE',
};
export const WORKERS = 2;
/** How many clients ask at a time. */
export const CLIENTS = { few: 32, many: 400 };
/** How many connections, and requests over kept ones, one run makes. */
export const COUNT = 4000;
/** How many wait while all workers are stopped. */
export const WAITING = 2000;

/** Milliseconds after which nobody accepts any more. */
const SETTLE = 1000;
const HOST = '127.0.0.1';

/** The median of each figure of each mode. */
export async function measureWorkers({ rounds, quick, progress }) {
  const share = quick ? 0.1 : 1;
  const sides = [];
  for (const mode of Object.keys(MODES)) sides.push(await start(mode));
  for (let round = 0; round <= rounds; round++) {
    progress(`workers: ${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}`);
    for (const side of sides) {
      const few = await newConnections(side, share, CLIENTS.few);
      const many = await newConnections(side, share, CLIENTS.many);
      const kept = await keptConnections(side, share);
      if (round > 0) side.runs.push({ few, many, kept });
    }
  }
  for (const side of sides) end(side);
  progress('workers: connections that wait');
  for (const side of sides) Object.assign(side, await waiting(side.mode));
  return Object.fromEntries(
    sides.map(({ mode, runs, each }) => {
      const [few, many] = ['few', 'many'].map((load) => medians(runs.map((run) => run[load])));
      return [mode, { few, many, kept: median(runs.map(({ kept }) => kept)), waiting: each }];
    }),
  );
}

function medians(runs) {
  const names = Object.keys(runs[0]);
  return Object.fromEntries(names.map((name) => [name, median(runs.map((run) => run[name]))]));
}

async function start(mode) {
  const parent = fork(fileURLToPath(new URL('parent.js', import.meta.url)), [mode, String(WORKERS), String(WAITING)]);
  const [told] = await once(parent, 'message');
  return { mode, parent, ...told, runs: [] };
}

/** The parent ends its workers. */
function end({ parent }) {
  parent.disconnect();
}

async function ask(parent) {
  parent.send('ask');
  return (await once(parent, 'message'))[0];
}

async function newConnections({ port, parent }, share, clients) {
  const count = COUNT * share;
  const by = new Map();
  const times = [];
  const before = await ask(parent);
  const rate = await inTurn(count, clients, async () => {
    const begin = performance.now();
    const pid = await request(port);
    times.push(performance.now() - begin);
    by.set(pid, (by.get(pid) ?? 0) + 1);
  });
  const after = await ask(parent);
  const most = Math.max(...by.values()) / count;
  const [cpu, system] = ['cpu', 'system'].map((name) => (after[name] - before[name]) / count);
  return { rate, cpu, system, most, p99: percentile(times, 0.99) };
}

async function keptConnections({ port }, share) {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS.few });
  const kept = await inTurn(COUNT * share, CLIENTS.few, async () => {
    const [response] = await once(get({ port, host: HOST, agent }), 'response');
    await once(response.resume(), 'end');
  });
  agent.destroy();
  return kept;
}

/** Memory (RSS) of whoever accepts, for each connection that no worker takes because all are stopped. */
async function waiting(mode) {
  const side = await start(mode);
  for (let i = 0; i < 300; i++) await request(side.port); // memory that the first ones take stays
  for (const pid of side.pids) process.kill(pid, 'SIGSTOP');
  const before = await ask(side.parent);
  const sockets = Array.from({ length: WAITING }, () => connect(side.port, HOST).on('error', () => {}));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  await new Promise((resolve) => setTimeout(resolve, SETTLE));
  const { memory } = await ask(side.parent);
  for (const socket of sockets) socket.destroy();
  for (const pid of side.pids) process.kill(pid, 'SIGCONT');
  end(side);
  return { each: (memory - before.memory) / WAITING };
}

/** So many, by so many clients at a time. `each` makes one. Returns how many there were in a second. */
async function inTurn(count, clients, each) {
  let left = count;
  const client = async () => {
    while (left-- > 0) await each();
  };
  const begin = performance.now();
  await Promise.all(Array.from({ length: clients }, client));
  return count / ((performance.now() - begin) / 1000);
}

/** Asks once over a connection of its own. Resolves with the pid that answered. */
function request(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, HOST);
    let text = '';
    socket.setNoDelay().setEncoding('latin1');
    socket.on('data', (chunk) => (text += chunk)).on('error', reject);
    socket.on('close', () => resolve(text.slice(text.indexOf('\r\n\r\n') + 4)));
    socket.write('GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n');
  });
}
