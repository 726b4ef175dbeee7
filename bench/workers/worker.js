/** A worker of either kind: answers with its pid. Its argument: the length of the backlog, with cluster. */
import cluster from 'node:cluster';
import { createServer } from 'node:http';

const answer = Buffer.from(String(process.pid));
const server = createServer((request, response) => {
  response.writeHead(200, { 'Content-Length': answer.length });
  response.end(answer);
});
if (cluster.isWorker) server.listen({ port: 0, host: '127.0.0.1', backlog: Number(process.argv[2]) });
else {
  const { worker } = await import('fdpasser/workers');
  worker().serve(server).ready();
}
