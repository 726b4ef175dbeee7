/** A worker of balance.js: serves the connections that it is handed, until no more can come. */
import { createServer } from 'node:http';
import { FdChannel } from 'fdpasser';

const server = createServer((request, response) => {
  response.end(`${request.url} answered by pid ${process.pid}\n`);
});

for await (const { value, fds } of FdChannel.inherit()) {
  console.log(`pid ${process.pid}: a connection from ${value.from}`);
  fds[0].toConnection(server);
}
server.closeIdleConnections();
