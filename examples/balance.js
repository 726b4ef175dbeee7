/**
 * One process accepts connections, two workers serve them over HTTP: `node examples/balance.js 8080`.
 * It ends at SIGINT or SIGTERM, and the workers when they have answered.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { FdChannel, socketpair } from 'fdpasser';

function startWorker() {
  const [ours, theirs] = socketpair();
  spawn(process.execPath, [fileURLToPath(new URL('balance-worker.js', import.meta.url))], {
    stdio: ['ignore', 'inherit', 'inherit', theirs.fd],
  });
  theirs.close(); // the worker has it now: as long as it is open here, nobody hears that the worker has gone
  return new FdChannel(ours);
}

const workers = [startWorker(), startWorker()];
let turn = 0;

async function handOver(socket) {
  try {
    await workers[turn++ % workers.length].send({ from: socket.remoteAddress }, [socket]);
  } catch (error) {
    console.error(`not handed over: ${error.message}`);
    socket.destroy(); // a socket that was not sent is still ours
  }
}

const server = createServer((socket) => void handOver(socket));
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () =>
  console.log(`listening on port ${server.address().port}`),
);

async function end() {
  server.close();
  await Promise.all(workers.map((worker) => worker.close()));
}

process.once('SIGINT', () => void end()).once('SIGTERM', () => void end());
