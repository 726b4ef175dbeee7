/** A supervisor that reports its workers' pids and its port, and then waits to be killed. */
import { fileURLToPath } from 'node:url';
import { supervise } from 'fdpasser/workers';

const workers = supervise(fileURLToPath(new URL('serve.js', import.meta.url)), { count: 2 });
const { port } = await workers.listen({ port: 0, host: '127.0.0.1' });
workers.on('worker', () => {
  if (workers.list.every(({ state }) => state === 'ready'))
    process.send!({ port, pids: workers.list.map(({ pid }) => pid) });
});
