/**
 * Receives descriptors and keeps all open, while other threads open and close files, and reports the longest turn of
 * the event loop: `cold`, or `warm`. Warm, it first receives and closes half of them, so that the code is compiled by
 * then.
 */
import { close, open } from 'node:fs';
import { FdPasser } from 'fdpasser';
import { deferred, now, serve, SOCKET } from './side.js';

const mode = process.argv[2];
const passer = new FdPasser({ fh: SOCKET });
const ASKED = 1024;
await serve(keep, { receives: true });

async function keep(total) {
  const warm = mode === 'warm' ? Math.floor(total / 2) : 0;
  await receive(warm, (fd) => fd.close());

  let done = false;
  const openAndClose = () => done || open('/dev/null', 'r', (_, fd) => close(fd, openAndClose));
  for (let thread = 0; thread < 2; thread++) openAndClose();

  let worst = 0;
  let last = now();
  const turn = () => {
    const time = now();
    worst = Math.max(worst, time - last);
    last = time;
    if (!done) setImmediate(turn);
  };
  setImmediate(turn);

  const kept = [];
  await receive(total - warm, (fd) => kept.push(fd));
  done = true;
  return { worst };
}

function receive(total, then) {
  const { promise, resolve } = deferred();
  let left = total;
  let asked = Math.min(total, ASKED);
  const received = (fd) => {
    then(fd);
    if (asked < total) {
      asked++;
      passer.pushRecvFh(received);
    }
    if (--left === 0) resolve();
  };
  for (let i = 0; i < asked; i++) passer.pushRecvFh(received);
  if (total === 0) resolve();
  return promise;
}
