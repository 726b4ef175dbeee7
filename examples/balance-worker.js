/** A worker of balance.js: serves the connections that it gets, until no more can come. */
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';

const server = createServer((request, response) => {
  console.log(`pid ${process.pid}: a request from ${request.socket.remoteAddress}`);
  response.end(`${request.url} answered by pid ${process.pid}\n`);
});
worker().serve(server).ready();
process.once('SIGINT', () => {}); // a terminal sends it to all processes; here the supervisor ends this one
