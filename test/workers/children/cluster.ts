/** The control: node's own cluster, which reports its workers to the parent. */
import cluster from 'node:cluster';
import { createServer } from 'node:http';

if (cluster.isPrimary) {
  const workers = [cluster.fork(), cluster.fork(), cluster.fork()];
  let listening = 0;
  cluster.on('listening', (_, { port }) => {
    if (++listening === workers.length) process.send!({ port, pids: workers.map(({ process: { pid } }) => pid) });
  });
  process.once('message', () => {
    for (const each of workers) each.process.kill('SIGKILL');
    process.disconnect();
  });
} else {
  createServer((_, response) => response.end(JSON.stringify({ pid: process.pid }))).listen(0, '127.0.0.1');
}
