/**
 * Node's own way, `process.send(message, handle)`: `send`, `receive`. The pair's socket is the IPC channel of both. Its
 * handles are sockets, pipes and the like, so here it is a connected pipe, which stays open at the sender.
 */
import { Socket } from 'node:net';
import { socketpair } from 'fdpasser';
import { deferred, serve } from './side.js';

const UNDER_WAY = 64;
const mode = process.argv[2];
const [one, other] = mode === 'send' ? socketpair().map((end) => end.take()) : [];
const handle = mode === 'send' ? new Socket({ fd: one, manualStart: true }) : undefined;
void other; // stays open for as long as the process runs

await serve({ send, receive }[mode], { receives: mode === 'receive' });

function send(total) {
  const { promise, resolve } = deferred();
  let left = total;
  let sent = 0;
  const next = (error) => {
    if (error) throw error;
    if (++sent === total) resolve();
    if (left > 0) post();
  };
  const post = () => {
    left--;
    process.send('', handle, { keepOpen: true }, next);
  };
  for (let i = 0; i < Math.min(total, UNDER_WAY); i++) post();
  return promise;
}

async function receive(total) {
  const { promise, resolve } = deferred();
  let left = total;
  const received = (_, socket) => {
    socket.destroy();
    if (--left === 0) resolve();
  };
  process.on('message', received);
  await promise;
  process.off('message', received);
}
