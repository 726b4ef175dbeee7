/** A worker with an HTTP server that answers with its identity. */
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';
import { closeAll } from '../../support/descriptors.js';
import { fillTable } from '../../support/fill-table.js';

const server = createServer((request, response) => {
  if (request.url === '/die') process.exit(9);
  if (request.url === '/block') for (;;);
  if (request.url === '/busy') own.busy(1000);
  if (request.url === '/fill') process.once('SIGUSR2', closeAll.bind(null, fillTable()));
  if (request.url === '/removes') request.socket.removeAllListeners('close');
  const { remoteAddress } = request.socket;
  const answer = { pid: process.pid, slot: own.slot, remoteAddress, arg: process.argv[2], env: process.env['OWN'] };
  response.end(JSON.stringify(answer));
});
server.keepAliveTimeout = 60_000; // a slow machine takes longer between two requests than Node waits
const own = worker().serve(server);
own.ready();
