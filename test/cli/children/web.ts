/** A server that takes its socket from LISTEN_FDS. The file `behaviour` in its folder says what it does. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { listenFds, notify } from 'fdpasser/systemd';

const behaviour = readFileSync('behaviour', 'utf8').trim();
if (behaviour === 'broken') process.exit(9);
if (behaviour === 'killed') process.kill(process.pid, 'SIGKILL');

const server = createServer((request, response) => {
  if (request.url === '/crash') process.exit(3);
  if (request.url === '/leave') process.exit(0);
  response.setHeader('connection', 'close').end(`${behaviour} ${process.pid}`);
});
if (behaviour === 'leaving' && isFirst()) {
  await notify({ READY: 1 });
  process.exit(8);
}
if (behaviour === 'waiting' || behaviour === 'leaving') while (!existsSync('go')) await sleep(5);
server.listen({ fd: [...listenFds().values()].flat()[0]!.take() }, () => {
  if (behaviour !== 'mute') void notify({ READY: 1 });
});
process.on('SIGTERM', () => {
  if (behaviour === 'stubborn') return;
  Server.prototype.close.call(server); // that of http closes connections whose request has not come, in Node 26
  if (behaviour === 'code') process.exitCode = 7;
});
process.on('SIGUSR2', () => process.stdout.write('USR2\n'));

/** Of those that start in this folder. */
function isFirst(): boolean {
  try {
    mkdirSync('left');
    mkdirSync(`left/${process.pid}`);
    return true;
  } catch {
    return false;
  }
}
