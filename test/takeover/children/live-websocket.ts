/**
 * A server of the package ws, as its manual has it, and what `serveAndMove` says. It echoes, with its pid before;
 * "push" has it send numbers until the end, "flood" long ones, each when those before have left it; "half" a message
 * that it does not end; "hold" is echoed when its parent says so. Once it was told to "hesitate", it accepts or rejects
 * a client when its parent says so, and welcomes it. In the environment: DEFLATE, an option of ws; SLOW: after how many
 * milliseconds it answers.
 */
import { createServer } from 'node:http';
import { OwnedFd } from 'fdpasser';
import { serveAndMove } from '../../support/mover.js';
import { WebSocketServer } from '../../support/ws.js';

const server = createServer((_, response) => response.end('http'));
const perMessageDeflate = JSON.parse(process.env.DEFLATE ?? 'false') as boolean | object;
/** Of `readyState`. */
const OPEN = 1;

let refuses = false;
let hesitates = false;
let decide: (accepts: boolean) => void;
const verifyClient = (_: unknown, callback: typeof decide): void => {
  if (!hesitates) return callback(!refuses);
  decide = callback;
  process.send!({ hesitates });
};
const webSockets = new WebSocketServer({ server, perMessageDeflate, verifyClient });
let answer = (): void => {};
/** How many long messages were sent. */
let flooded = 0;
process.on('message', (message) => {
  if (message === 'refuse') {
    refuses = true;
    process.send!({ refusing: true });
  } else if (message === 'hesitate') {
    hesitates = true;
    process.send!({ hesitating: true });
  } else if (message === 'accept' || message === 'reject') {
    decide(message === 'accept');
    process.send!({ decided: true });
  } else if (message === 'detach') {
    for (const { _socket: socket } of webSockets.clients) void OwnedFd.detach(socket);
  } else if (message === 'flooded') process.send!({ flooded });
  else if (message === 'answer') {
    answer();
    process.send!({ answered: true });
  }
});

webSockets.on('connection', (webSocket, request) => {
  process.send!({ connected: request.url, host: request.headers.host });
  if (hesitates) webSocket.send('welcome');
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
    if (data.toString() === 'flood') {
      const flood = (): void => {
        if (webSocket.readyState !== OPEN) return;
        if (webSocket.bufferedAmount === 0) webSocket.send(String(flooded++).padEnd(20_000));
        setImmediate(flood);
      };
      flood();
      return;
    }
    const echo = (): void =>
      webSocket.send(Buffer.concat([Buffer.from(`${process.pid}:`), data]), { binary: isBinary });
    if (data.toString() === 'hold') {
      answer = echo;
      process.send!({ holds: true });
    } else if (process.env.SLOW === undefined) echo();
    else setTimeout(echo, Number(process.env.SLOW));
  });
  webSocket.on('close', (code, reason) => {
    clearInterval(pushing);
    if (process.connected) process.send!({ ended: code, reason: reason.toString(), pushed });
  });
});

await serveAndMove(server);
