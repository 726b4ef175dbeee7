/**
 * What accepts, by its first argument: `fdpasser`, `round-robin` (cluster) or `shared` (cluster's SCHED_NONE). The
 * others are how many workers there are, and how long the backlog is. It tells its port and its workers' pids when all
 * workers are ready, and its processor time (microseconds) and memory (bytes) when it is asked.
 */
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';

const [mode, ...numbers] = process.argv.slice(2);
const [count, backlog] = numbers.map(Number);
const file = fileURLToPath(new URL('worker.js', import.meta.url));
const tell = (said) => process.send(said);

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  tell({ cpu: user + system, system, memory: process.memoryUsage().rss });
});

if (mode === 'fdpasser') {
  const { supervise } = await import('fdpasser/workers');
  const workers = supervise(file, { count, patience: 60_000 });
  const { port } = await workers.listen({ port: 0, host: '127.0.0.1', backlog });
  workers.on('worker', () => {
    if (workers.list.every(({ state }) => state === 'ready')) tell({ port, pids: workers.list.map(({ pid }) => pid) });
  });
  process.once('disconnect', () => void workers.close());
} else {
  cluster.schedulingPolicy = mode === 'shared' ? cluster.SCHED_NONE : cluster.SCHED_RR;
  cluster.setupPrimary({ exec: file, args: [String(backlog)] });
  let listening = 0;
  cluster.on('listening', (_, { port }) => {
    const pids = Object.values(cluster.workers).map((worker) => worker.process.pid);
    if (++listening === count) tell({ port, pids });
  });
  for (let i = 0; i < count; i++) cluster.fork();
  process.once('disconnect', () => process.exit());
}
