/**
 * A program of express and ws that knows nothing of takeover. It listens on the port in its arguments. A WebSocket
 * echoes, and counts by itself: it prints how far it came when it ends.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocketServer } from '../../support/ws.js';

interface Express extends RequestListener {
  get(path: string, handler: (request: IncomingMessage, response: ServerResponse) => unknown): void;
  post(path: string, handler: (request: IncomingMessage, response: ServerResponse) => unknown): void;
}

const express = createRequire(import.meta.url)('express') as () => Express;
const app = express();

app.get('/', (_, response) => response.end(String(process.pid)));

async function download(response: ServerResponse): Promise<void> {
  for (let part = 0; part < 60; part++) {
    response.write(Buffer.alloc(10_000, part));
    await sleep(50);
  }
  response.end();
}

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of request) hash.update(chunk as Buffer);
  response.end(hash.digest('hex'));
}

app.get('/download', (_, response) => void download(response));
app.post('/upload', (request, response) => void receive(request, response));

const server = createServer(app);
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (webSocket, request) => {
  let sent = 0;
  const counting = setInterval(() => {
    if (webSocket.readyState === 1) webSocket.send(`${process.pid} counts ${sent++}`);
  }, 10);
  webSocket.on('message', (data) => webSocket.send(`echo ${data.toString()}`));
  webSocket.on('close', (code) => {
    clearInterval(counting);
    console.log(JSON.stringify({ client: request.url, code, pid: process.pid, sent }));
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listens'));
