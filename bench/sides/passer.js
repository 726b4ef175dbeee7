/**
 * FdPasser: `send BATCH QUEUE`, `receive`, `many`, `ping`, `pong`.
 *
 * The sender keeps up to QUEUE descriptors pushed, and pushes again when they were sent. The receiver keeps a fixed
 * number of callbacks pushed, and closes each descriptor in its callback; with `many` it receives and closes many at
 * once.
 */
import { FdPasser, OwnedFd } from 'fdpasser';
import { deferred, now, passed, serve, SOCKET } from './side.js';

const [mode, batch = '1', queue = '1024'] = process.argv.slice(2);
const passer = new FdPasser({ fh: SOCKET, batch: Number(batch) });
/** Lent from an OwnedFd, so the kernel need not be asked at each use whether the number is open. */
const lent = new OwnedFd(passed);
const ASKED = 4096;
const AT_ONCE = 1024;

const modes = { send, receive, many, ping, pong };
await serve(modes[mode], { receives: mode !== 'send' && mode !== 'ping' });

function send(total) {
  const { promise, resolve } = deferred();
  let left = total;
  const push = () => {
    const count = Math.min(left, Number(queue));
    left -= count;
    for (let i = 1; i < count; i++) passer.pushSendFh(lent, { keepOpen: true });
    passer.pushSendFh(lent, { keepOpen: true }, left > 0 ? push : resolve);
  };
  push();
  return promise;
}

function receive(total) {
  const { promise, resolve } = deferred();
  let left = total;
  let asked = Math.min(total, ASKED);
  const received = (fd) => {
    fd.close();
    if (asked < total) {
      asked++;
      passer.pushRecvFh(received);
    }
    if (--left === 0) resolve();
  };
  for (let i = 0; i < asked; i++) passer.pushRecvFh(received);
  return promise;
}

async function many(total) {
  for (let left = total; left > 0;) {
    const fds = await passer.receiveMany({ most: Math.min(left, AT_ONCE) });
    OwnedFd.closeAll(fds);
    left -= fds.length;
  }
}

function ping(total) {
  const { promise, resolve } = deferred();
  const trips = [];
  let start = 0;
  const go = () => {
    start = now();
    passer.pushRecvFh(back);
    passer.pushSendFh(lent, { keepOpen: true });
  };
  const back = (fd) => {
    trips.push(now() - start);
    fd.close();
    if (trips.length < total) go();
    else resolve({ trips });
  };
  go();
  return promise;
}

function pong(total) {
  const { promise, resolve } = deferred();
  let left = total;
  const there = (fd) => {
    if (--left > 0) passer.pushRecvFh(there);
    passer.pushSendFh(fd, left > 0 ? undefined : resolve);
  };
  passer.pushRecvFh(there);
  return promise;
}
