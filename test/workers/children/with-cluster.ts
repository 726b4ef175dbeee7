/** A program that has a worker of node:cluster listen, and writes into a file what came of it. */
import cluster from 'node:cluster';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';

const [file, port] = process.argv.slice(2) as [string, string];

function tell(outcome: string): void {
  writeFileSync(`${file}.new`, outcome);
  renameSync(`${file}.new`, file);
}

if (cluster.isPrimary) cluster.fork();
else {
  const server = createServer().listen({ port: Number(port), host: '127.0.0.1' });
  server.once('listening', () => tell('listening'));
  server.once('error', (error: NodeJS.ErrnoException) => tell(error.code!));
}
