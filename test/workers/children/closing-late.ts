/**
 * At `/close` it blocks until there is the file that its first argument names, and then closes its server. It lives on.
 * With a port it is a program that knows nothing of workers, else a worker.
 */
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

const [file, port] = process.argv.slice(2) as [string, string?];
const server = createServer((request, response) => {
  response.setHeader('Connection', 'close').end(`${process.pid}`);
  if (request.url !== '/close') return;
  process.kill(process.ppid, 'SIGUSR2');
  while (!existsSync(file));
  server.close();
  setInterval(() => {}, 1000);
});
if (port === undefined) worker().serve(server).ready();
else server.listen(Number(port), '127.0.0.1');
