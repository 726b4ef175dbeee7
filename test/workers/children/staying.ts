/** A worker that stays while it retires, until a client asks for `/leave`. With an argument it is ready before. */
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

let leave = (): void => {};
const asked = new Promise<void>((resolve) => (leave = resolve));
const server = createServer((request, response) => {
  response.end(JSON.stringify({ pid: process.pid }));
  if (request.url === '/leave') response.once('close', leave);
});
const own = worker();
const serve = (): void => void own.serve(server, { retire: () => asked });
if (process.argv[2] === 'again') own.serve(server, { listener: 'none' });
else if (process.argv.length > 2) own.serve(createServer(), { listener: 'none' });
else serve();
own.ready();
if (process.argv.length > 2) serve();
