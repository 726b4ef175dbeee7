/**
 * A worker that answers with its pid. At `/close` it closes its server, and does not end the answer. It ends when
 * nobody is connected any more. With an argument the server listens at a port of its own, too.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

const server = createServer((request, response) => {
  response.setHeader('Connection', 'close').write(`${process.pid}`);
  if (request.url === '/close') server.close(() => process.exit());
  else response.end();
});
if (process.argv[2] !== undefined) await once(server.listen(0, '127.0.0.1').unref(), 'listening');
worker().serve(server).ready();
