/** A server that has a second one listen as soon as it has confirmed. Each answers with the pid. */
import http from 'node:http';
import { takeover } from 'fdpasser/takeover';
import type { ServerConfig } from '../../support/takeover.js';

const { control, listeners } = JSON.parse(process.argv[2]!) as ServerConfig;
const server = (): http.Server => http.createServer((_, response) => void response.end(`${process.pid}`));
const [first, second] = listeners;
const serving = await takeover(control);
serving.on('drained', () => process.disconnect());
serving.listen(first!.name, server(), first!.options);
await serving.ready();
await serving.confirm();
serving.listen(
  second!.name,
  server().once('listening', () => process.send!({ event: 'done' })),
  second!.options,
);
