/**
 * One process accepts connections, two workers serve them over HTTP: `node examples/balance.js 8080`.
 * A worker that goes is replaced, and what it had not taken is served by another. It ends at SIGINT or SIGTERM, and the
 * workers when they have answered.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { FdChannel, socketpair } from 'fdpasser';

const workers = [];
let turn = 0;
let ending = false;

function startWorker() {
  const [ours, theirs] = socketpair();
  spawn(process.execPath, [fileURLToPath(new URL('balance-worker.js', import.meta.url))], {
    stdio: ['ignore', 'inherit', 'inherit', theirs.fd],
  });
  theirs.close(); // the worker has it now: as long as it is open here, nobody hears that the worker has gone
  const worker = new FdChannel(ours);
  workers.push(worker);
  worker.once('close', () => {
    workers.splice(workers.indexOf(worker), 1);
    if (!ending) startWorker();
  });
}

async function handOver(socket) {
  for (;;) {
    if (ending) {
      socket.destroy();
      return;
    }
    try {
      // Confirmed: a worker that is killed may have been sent what it never came to.
      await workers[turn++ % workers.length].send({ from: socket.remoteAddress }, [socket], { confirm: true });
      return;
    } catch (error) {
      console.error(`not handed over: ${error.message}`);
      if (socket.destroyed) return; // otherwise it is still ours
    }
  }
}

startWorker();
startWorker();
const server = createServer((socket) => void handOver(socket));
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () =>
  console.log(`listening on port ${server.address().port}`),
);

async function end() {
  ending = true;
  server.close();
  await Promise.all(workers.map((worker) => worker.close()));
}

process.once('SIGINT', () => void end()).once('SIGTERM', () => void end());
