/** A worker opens a file with node:fs, sends it to itself, and ends. */
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { Worker, isMainThread } from 'node:worker_threads';

if (isMainThread) {
  process.disconnect();
  await once(new Worker(new URL(import.meta.url)), 'exit');
} else {
  const { FdPasser, socketpair } = await import('fdpasser');
  const [a, b] = socketpair();
  await using one = new FdPasser({ fh: a });
  await using other = new FdPasser({ fh: b });
  await one.send(openSync('/dev/null', 'r'));
  (await other.receive()).close();
}
