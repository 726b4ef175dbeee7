/**
 * What accepts, by its argument: `fdpasser`, `round-robin` (cluster) or `shared` (cluster's SCHED_NONE). It tells its
 * port when all workers are ready, and its processor time (microseconds) and memory (bytes) when it is asked.
 */
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';

const [mode, count] = [process.argv[2], Number(process.argv[3])];
const file = fileURLToPath(new URL('worker.js', import.meta.url));
const tell = (said) => process.send(said);

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  tell({ cpu: user + system, memory: process.memoryUsage().rss });
});

if (mode === 'fdpasser') {
  const { supervise } = await import('fdpasser/workers');
  const workers = supervise(file, { count });
  const { port } = await workers.listen({ port: 0, host: '127.0.0.1' });
  workers.on('worker', () => {
    if (workers.list.every(({ state }) => state === 'ready')) tell({ port });
  });
  process.once('disconnect', () => void workers.close());
} else {
  cluster.schedulingPolicy = mode === 'shared' ? cluster.SCHED_NONE : cluster.SCHED_RR;
  cluster.setupPrimary({ exec: file });
  let listening = 0;
  cluster.on('listening', (_, { port }) => {
    if (++listening === count) tell({ port });
  });
  for (let i = 0; i < count; i++) cluster.fork();
  process.once('disconnect', () => process.exit());
}
