/**
 * A worker that answers with its slot. In slot 0 the first connection makes it say much, close its server and be killed
 * when all of that is said. So it gives back what else it was given.
 */
import { createServer } from 'node:net';
import { worker } from 'fdpasser/workers';

const own = worker();
const server = createServer((socket) => {
  if (own.slot !== 0) {
    socket.end(`${own.slot}`);
    return;
  }
  for (let count = 0; count < 1000; count++) own.busy(count);
  server.close();
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300);
});
own.serve(server).ready();
