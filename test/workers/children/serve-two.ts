/**
 * A worker with two servers, which answer with their names: `own` gets the connections of the listener that its
 * argument names, and `rest` all others. At `/close` the server closes. From SIGUSR2 on another one serves in the place
 * of `own`.
 */
import { createServer, type Server } from 'node:http';
import { worker } from 'fdpasser/workers';

function serverOf(name: string): Server {
  const server = createServer((request, response) => {
    response.setHeader('Connection', 'close').end(name);
    if (request.url === '/close') server.close();
  });
  return server;
}

const listener = process.argv[2]!;
const workers = worker().serve(serverOf('rest')).serve(serverOf('own'), { listener });
process.on('SIGUSR2', () => workers.serve(serverOf('another'), { listener }));
workers.ready();
