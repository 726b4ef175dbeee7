/** A worker that writes to its WebSockets all the time. It notes in a file how many messages each got. */
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { worker } from 'fdpasser/workers';
import { WebSocketServer } from 'ws';

const MESSAGE = 'x'.repeat(15_000);
const server = createServer();
new WebSocketServer({ server }).on('connection', (client) => {
  let count = 0;
  const writing = setInterval(() => {
    if (client.readyState !== client.OPEN) return;
    client.send(`${process.pid} ${MESSAGE}`);
    count++;
  }, 10);
  client.on('close', () => {
    clearInterval(writing);
    appendFileSync(process.argv[2]!, `${process.pid} ${count}\n`);
  });
});
worker().serve(server).ready();
