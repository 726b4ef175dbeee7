/**
 * Hands a connection to another process, which makes a net.Socket of it: `send`, `receive`. As in ipc.js, it is one
 * connected pipe, which stays open at the sender.
 */
import { FdPasser, socketpair } from 'fdpasser';
import { Socket } from 'node:net';
import { deferred, serve, SOCKET } from './side.js';

const UNDER_WAY = 64;
const mode = process.argv[2];
const passer = new FdPasser({ fh: SOCKET });
const [one, other] = mode === 'send' ? socketpair().map((end) => end.take()) : [];
const connection = mode === 'send' ? new Socket({ fd: one, manualStart: true }) : undefined;
void other; // stays open for as long as the process runs

await serve({ send, receive }[mode], { receives: mode === 'receive' });

async function send(total) {
  let left = total;
  const one = async () => {
    while (left-- > 0) await passer.send(connection, { keepOpen: true });
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, one));
}

function receive(total) {
  const { promise, resolve } = deferred();
  let left = total;
  let asked = Math.min(total, UNDER_WAY);
  const received = (fd) => {
    fd.toSocket().destroy();
    if (asked++ < total) passer.pushRecvFh(received);
    if (--left === 0) resolve();
  };
  for (let i = 0; i < asked; i++) passer.pushRecvFh(received);
  return promise;
}
