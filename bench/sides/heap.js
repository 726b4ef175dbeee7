/** Pushes descriptors to be sent, all at once, and reports the heap that each takes while it waits. */
import { FdPasser } from 'fdpasser';
import { deferred, passed, serve, SOCKET } from './side.js';

const passer = new FdPasser({ fh: SOCKET, batch: 253 });
await serve(push, { receives: false });

async function push(total) {
  const { promise, resolve } = deferred();
  const before = heap();
  for (let i = 1; i < total; i++) passer.pushSendFh(passed, { keepOpen: true });
  passer.pushSendFh(passed, { keepOpen: true }, resolve);
  const each = (heap() - before) / total;
  await promise;
  return { each };
}

function heap() {
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
