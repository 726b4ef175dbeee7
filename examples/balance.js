/**
 * One process accepts connections, two workers serve them over HTTP: `node examples/balance.js 8080`. A worker that
 * ends is replaced, and another worker serves the connections that it had not taken. SIGHUP replaces the workers one
 * after another. At SIGINT or SIGTERM it ends when the workers have answered.
 */
import { fileURLToPath } from 'node:url';
import { supervise } from 'fdpasser/workers';

const workers = supervise(fileURLToPath(new URL('balance-worker.js', import.meta.url)), { count: 2, pick: 'turn' });
workers.on('given-back', ({ pid }) =>
  console.error(`pid ${pid} ended before it took a connection: another worker gets it`),
);
const { port } = await workers.listen({ port: Number(process.argv[2] ?? 0), host: '127.0.0.1' });
console.log(`listening on port ${port}`);

process.on('SIGHUP', () => void workers.reload().catch((error) => console.error(error.message)));
process.once('SIGINT', () => void workers.close()).once('SIGTERM', () => void workers.close());
