/**
 * Compares `fdpasser/workers` with node:cluster in both its modes, in turn, in one run:
 *
 *   node bench/workers.js [--rounds 7] [--connections 4000] [--workers 2] [--json]
 *
 * Says for each: new connections a second, the processor time of whoever accepts for each of them, the share of the
 * worker with the most, requests a second over kept connections, and how long a request over a new connection takes.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from './machine.js';
import { median } from './statistics.js';

const MODES = ['fdpasser', 'round-robin', 'shared'];
const CLIENTS = 32;
const number = (given) => ({ type: 'string', default: String(given) });
const { values: options } = parseArgs({
  options: { rounds: number(7), connections: number(4000), workers: number(2), json: { type: 'boolean' } },
});
const [rounds, connections, workers] = [options.rounds, options.connections, options.workers].map(Number);

/** Asks once over a connection of its own. Resolves with the pid that answered. */
function ask(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setNoDelay().setEncoding('latin1');
    socket.on('data', (chunk) => (text += chunk)).on('error', reject);
    socket.on('close', () => resolve(text.slice(text.indexOf('\r\n\r\n') + 4)));
    socket.write('GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n');
  });
}

/** So many, `CLIENTS` at a time. `each` makes one. */
async function many(count, each) {
  let left = count;
  const client = async () => {
    while (left-- > 0) await each();
  };
  const begin = performance.now();
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return count / ((performance.now() - begin) / 1000);
}

async function newConnections({ port, parent }) {
  const by = new Map();
  const times = [];
  const before = await said(parent, 'ask');
  const rate = await many(connections, async () => {
    const begin = performance.now();
    const pid = await ask(port);
    times.push(performance.now() - begin);
    by.set(pid, (by.get(pid) ?? 0) + 1);
  });
  const after = await said(parent, 'ask');
  times.sort((a, b) => a - b);
  const most = Math.max(...by.values());
  const p99 = times[Math.floor(times.length * 0.99)];
  return { rate, cpu: (after.cpu - before.cpu) / connections, most: most / connections, p99 };
}

async function keptConnections({ port }) {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  const kept = await many(connections, async () => {
    const [response] = await once(get({ port, host: '127.0.0.1', agent }), 'response');
    await once(response.resume(), 'end');
  });
  agent.destroy();
  return { kept };
}

async function said(parent, question) {
  const answer = once(parent, 'message');
  if (question !== undefined) parent.send(question);
  return (await answer)[0];
}

async function start(mode) {
  const parent = fork(fileURLToPath(new URL('workers-sides/parent.js', import.meta.url)), [mode, String(workers)]);
  return { mode, parent, ...(await said(parent)), runs: [] };
}

const sides = [];
for (const mode of MODES) sides.push(await start(mode));
for (let round = 0; round <= rounds; round++) {
  process.stderr.write(round === 0 ? 'warming up\n' : `round ${round} of ${rounds}\n`);
  for (const side of sides) {
    const run = { ...(await newConnections(side)), ...(await keptConnections(side)) };
    if (round > 0) side.runs.push(run);
  }
}
for (const { parent } of sides) parent.disconnect();

const figures = sides.map(({ mode, runs }) => {
  const names = Object.keys(runs[0]);
  return [mode, Object.fromEntries(names.map((name) => [name, median(runs.map((run) => run[name]))]))];
});
if (options.json) console.log(JSON.stringify({ machine: machine(), ...Object.fromEntries(figures) }, undefined, 2));
else
  for (const [mode, { rate, cpu, most, p99, kept }] of figures)
    console.log(
      `${mode.padEnd(12)} ${rate.toFixed(0)} connections/s, ${cpu.toFixed(1)} µs of the one who accepts for each, ` +
        `${(most * 100).toFixed(1)} % to the worker with the most, p99 ${p99.toFixed(1)} ms, ` +
        `${kept.toFixed(0)} requests/s over kept connections`,
    );
