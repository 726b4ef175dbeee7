/**
 * A server of the package ws, as its manual has it, and what `serveAndMove` says. It echoes, with its pid before;
 * "push" has it send numbers until the end, "half" a message that it does not end. In the environment: DEFLATE, an
 * option of ws; SLOW: it answers later; REFUSE: the request of a client that comes a second time.
 */
import { createServer } from 'node:http';
import { serveAndMove } from '../../support/mover.js';
import { WebSocketServer } from '../../support/ws.js';

const server = createServer((_, response) => response.end('http'));
const perMessageDeflate = JSON.parse(process.env.DEFLATE ?? 'false') as boolean | object;
/** Of `readyState`. */
const OPEN = 1;

let refuses = false;
const webSockets = new WebSocketServer({ server, perMessageDeflate, verifyClient: () => !refuses });
process.on('message', (message) => {
  if (message !== 'refuse') return;
  refuses = true;
  process.send!({ refusing: true });
});

webSockets.on('connection', (webSocket, request) => {
  process.send!({ connected: request.url, host: request.headers.host });
  let pushed = 0;
  let pushing: NodeJS.Timeout | undefined;
  webSocket.on('message', (data, isBinary) => {
    if (data.toString() === 'half') {
      webSocket.send('half a message', { fin: false });
      return;
    }
    if (data.toString() === 'push') {
      pushing = setInterval(() => {
        if (webSocket.readyState === OPEN) webSocket.send(String(pushed++));
      }, 1);
      return;
    }
    const answer = Buffer.concat([Buffer.from(`${process.pid}:`), data]);
    if (process.env.SLOW === undefined) webSocket.send(answer, { binary: isBinary });
    else setTimeout(() => webSocket.send(answer, { binary: isBinary }), 5);
  });
  webSocket.on('close', (code, reason) => {
    clearInterval(pushing);
    if (process.connected) process.send!({ ended: code, reason: reason.toString(), pushed });
  });
});

await serveAndMove(server);
