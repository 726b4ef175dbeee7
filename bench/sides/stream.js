/**
 * Bytes, with descriptors or without: `send|receive fdpasser|net BYTES FDS`. A write has BYTES bytes and FDS
 * descriptors. The stream is written to until `write` returns false.
 */
import { FdStream, OwnedFd } from 'fdpasser';
import { Socket } from 'node:net';
import { deferred, passed, serve, SOCKET } from './side.js';

const [mode, implementation, bytes, count] = process.argv.slice(2);
const stream = implementation === 'net' ? new Socket({ fd: SOCKET }) : new FdStream(SOCKET);
const chunk = Buffer.alloc(Number(bytes));
/** Lent from an OwnedFd, so the kernel need not be asked at each use whether the number is open. */
const lent = new OwnedFd(passed);
const fds = Array.from({ length: Number(count) }, () => lent);

await serve({ send, receive }[mode], { receives: mode === 'receive' });

function send(total) {
  const { promise, resolve } = deferred();
  const write =
    fds.length === 0
      ? (done) => stream.write(chunk, done)
      : (done) => stream.writeWithFds(chunk, fds, { keepOpen: true }, done);
  let left = total;
  const fill = () => {
    while (left > 0) if (!write(--left > 0 ? undefined : () => resolve())) break;
    if (left > 0) stream.once('drain', fill);
  };
  fill();
  return promise;
}

async function receive(total) {
  const { promise, resolve } = deferred();
  let bytesLeft = total * chunk.length;
  let fdsLeft = total * fds.length;
  const finished = () => bytesLeft === 0 && fdsLeft === 0 && resolve();
  const onFds = (received) => {
    for (const fd of received) fd.close();
    fdsLeft -= received.length;
    finished();
  };
  const onData = ({ length }) => {
    bytesLeft -= length;
    finished();
  };
  stream.on('fds', onFds).on('data', onData);
  await promise;
  stream.off('fds', onFds).off('data', onData);
}
