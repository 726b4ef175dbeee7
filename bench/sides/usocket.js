/** usocket: `send`, `receive`. A write is one byte with one descriptor; the next is made when the last was taken. */
import { createRequire } from 'node:module';
import { closeSync } from 'node:fs';
import { deferred, passed, serve, SOCKET } from './side.js';

const { USocket } = createRequire(new URL('../usocket/package.json', import.meta.url))('usocket');
const socket = new USocket({ fd: SOCKET });
const message = { data: Buffer.alloc(1), fds: [passed] };

const mode = process.argv[2];
await serve({ send, receive }[mode], { receives: mode === 'receive' });

function send(total) {
  const { promise, resolve } = deferred();
  let left = total;
  const next = (error) => {
    if (error) throw error;
    if (left-- > 0) socket.write(message, undefined, next);
    else resolve();
  };
  next();
  return promise;
}

/** Ends when all bytes have come. usocket can lose descriptors without an error. */
async function receive(total) {
  const { promise, resolve } = deferred();
  let bytesLeft = total;
  let fdsLeft = total;
  const take = () => {
    for (let got = socket.read(null, null); got !== null; got = socket.read(null, null)) {
      for (const fd of got.fds) closeSync(fd);
      fdsLeft -= got.fds.length;
      if (got.data === null) break;
      bytesLeft -= got.data.length;
    }
    if (bytesLeft === 0) resolve({ lost: fdsLeft });
  };
  socket.on('readable', take);
  socket.read(0);
  const result = await promise;
  socket.off('readable', take);
  return result;
}
