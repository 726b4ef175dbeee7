/** What a takeover costs those who are connected, and the processes. */
import { readFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { median, percentile } from '../statistics.js';
import { freePort, Process, startClients } from './processes.js';
import { installPm2, removePm2, startApp, ways } from './ways.js';

/** How many ask, and how long each waits after an answer on average, in milliseconds. */
export const CLIENTS = 64;
export const PAUSE = 20;

/** How many connections move. */
export const IDLE = 10_000;
export const WEB_SOCKETS = 1000;

/** Milliseconds that one of both asks, before the other does. */
const BURST = 400;

/** Milliseconds in which the code of clients and server is compiled. */
const WARM = 1500;

/** Which of the first requests are counted together. */
export const FIRST = [
  [1, 1],
  [2, 8],
  [9, 32],
  [33, 64],
  [65, 256],
  [257, 512],
];

export async function measureTakeover({ rounds, quick, progress }) {
  if (!quick) installPm2(progress);
  try {
    const replaced = {};
    for (const [name, { title, missing }] of Object.entries(ways))
      replaced[name] = { title, missing: missing?.(), runs: [] };
    const moved = { idle: [], webSockets: [] };
    const cost = [];
    const first = [];
    for (let round = 1; round <= rounds; round++) {
      progress(`takeover, round ${round} of ${rounds}`);
      for (const [name, { start }] of Object.entries(ways))
        if (replaced[name].missing === undefined) replaced[name].runs.push(await replaceOnce(start));
      moved.idle.push(await move({ idle: quick ? 500 : IDLE }));
      moved.webSockets.push(await move({ webSockets: quick ? 50 : WEB_SOCKETS }));
      cost.push(await compareAtRest(quick ? 1 : 10));
      first.push({ plain: await firstOfPlain(), successor: await firstOfSuccessor() });
    }
    return { replaced, moved, cost, first };
  } finally {
    removePm2();
  }
}

/** Times in milliseconds: at rest, and for as long as the server is replaced. */
async function replaceOnce(start) {
  const port = await freePort();
  const server = await start(port);
  const clients = await startClients(port);
  try {
    await clients.asks({ ask: CLIENTS, pause: PAUSE });
    await sleep(WARM);
    await clients.asks('window');
    await sleep(WARM);
    const rest = summary(await clients.asks('window'));
    await server.replace();
    await sleep(100); // those who were asked to connect anew do
    const upgrade = summary(await clients.asks('window'));
    return { rest, upgrade };
  } finally {
    await clients.end();
    await server.end();
  }
}

function summary({ took, gap, latencies, errors, reconnects }) {
  return { took, gap, p99: percentile(latencies, 0.99), answers: latencies.length, errors, reconnects };
}

/** Moves those who are connected and idle. */
async function move(order) {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-bench-'));
  const port = await freePort();
  const start = async () => {
    const server = new Process('moving.js', { args: [join(folder, 'control'), String(port)] });
    await server.says();
    return server;
  };
  const old = await start();
  const clients = await startClients(port);
  try {
    await clients.asks(order);
    const heir = await start();
    const { drained } = await old.says();
    heir.child.send('report');
    const { moved } = await heir.says();
    const answered = await clients.asks('again');
    await old.exit;
    await heir.end();
    return { old: drained, heir: moved, kept: answered[heir.pid] ?? 0 };
  } finally {
    await clients.end();
    await old.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Requests per second of clients that never wait, and CPU time of the server for each, in microseconds: in turn. */
async function compareAtRest(bursts) {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-bench-'));
  const runs = [];
  try {
    for (const name of ['plain', 'register']) {
      const port = await freePort();
      const app = await startApp(port, name === 'register' ? join(folder, 'control') : undefined);
      runs.push({ name, app, clients: await startClients(port), took: 0, answers: 0, cpu: 0 });
    }
    for (let burst = 0; burst <= bursts; burst++) {
      for (const run of burst % 2 === 0 ? runs : runs.toReversed()) {
        const before = cpuOf(run.app.pid);
        const { took, latencies } = await run.clients.asks({ burst: BURST, clients: CLIENTS });
        if (burst === 0) continue; // code is compiled
        run.took += took;
        run.answers += latencies.length;
        run.cpu += cpuOf(run.app.pid) - before;
      }
    }
    return Object.fromEntries(
      runs.map(({ name, took, answers, cpu }) => [
        name,
        { rate: (answers * 1000) / took, cpu: (cpu * 1000) / answers },
      ]),
    );
  } finally {
    for (const { app, clients } of runs) {
      await clients.end();
      await app.end();
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds that the first requests cost the main thread of a process that has just started. */
async function firstOfPlain() {
  const port = await freePort();
  const app = await startApp(port, undefined, 'first.cjs');
  const clients = await startClients(port);
  await clients.asks({ ask: CLIENTS, pause: PAUSE });
  return costOfFirst(app, clients);
}

/** The same of one that takes over from another, with the connections of all clients. */
async function firstOfSuccessor() {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-bench-'));
  const start = () => startApp(port, join(folder, 'control'), 'first.cjs');
  const port = await freePort();
  const old = await start();
  const clients = await startClients(port);
  try {
    await clients.asks({ ask: CLIENTS, pause: PAUSE });
    await sleep(WARM);
    const app = await start();
    await old.exit;
    return await costOfFirst(app, clients);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function costOfFirst(app, clients) {
  await sleep(WARM / 2);
  const used = await app.asks('used');
  await clients.end();
  await app.end();
  return FIRST.map(([from, to]) => (used[to] - used[from - 1]) / (to - from + 1));
}

/** Milliseconds of all threads: proc(5) counts hundredths of a second. */
function cpuOf(pid) {
  const [, fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
  const [user, system] = fields.split(' ').slice(11, 13).map(Number);
  return (user + system) * 10;
}

export function middle(runs, of) {
  return median(runs.map(of));
}
