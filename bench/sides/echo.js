/**
 * One byte there and back over net.Socket, which passes no descriptors: `ping`, `pong`. It shows how long a turn of the
 * loop takes.
 */
import { Socket } from 'node:net';
import { deferred, now, serve, SOCKET } from './side.js';

const mode = process.argv[2];
const socket = new Socket({ fd: SOCKET });
const byte = Buffer.alloc(1);

await serve({ ping, pong }[mode], { receives: mode === 'pong' });

async function ping(total) {
  const { promise, resolve } = deferred();
  const trips = [];
  let start = now();
  const back = () => {
    trips.push(now() - start);
    if (trips.length === total) resolve();
    else {
      start = now();
      socket.write(byte);
    }
  };
  socket.on('data', back);
  socket.write(byte);
  await promise;
  socket.off('data', back);
  return { trips };
}

async function pong(total) {
  const { promise, resolve } = deferred();
  let left = total;
  const there = () => {
    socket.write(byte);
    if (--left === 0) resolve();
  };
  socket.on('data', there);
  await promise;
  socket.off('data', there);
}
