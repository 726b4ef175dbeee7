/** A cluster with one worker, whose server gets a connection from the parent. */
import cluster from 'node:cluster';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { FdChannel } from 'fdpasser';

if (cluster.isPrimary) {
  process.disconnect();
  cluster.setupPrimary({ stdio: ['ignore', 'inherit', 'inherit', 3, 'ipc'] });
  const [code] = (await once(cluster.fork(), 'exit')) as [number];
  process.exitCode = code;
} else {
  const server = createServer((_, response) => {
    server.getConnections((_, connections) => {
      response.setHeader('connection', 'close').end(`worker, ${connections} connection`);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  for await (const { fds } of FdChannel.inherit()) fds[0]!.toConnection(server);
  server.close();
  cluster.worker!.disconnect();
}
