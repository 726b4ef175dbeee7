/** Passes descriptors in a process whose flags restrict it, in this thread and, when asked to, in a worker. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { isMainThread, Worker } from 'node:worker_threads';
import { FdPasser, FdPasserError, OwnedFd, socketpair } from 'fdpasser';
import { exchange } from '../../support/exchange.js';

const [a, b] = socketpair();
const one = new FdPasser({ fh: a });
const other = new FdPasser({ fh: b });
await exchange(one, other, 100);

// Errors and their names are made while the language's built-in objects may be frozen.
await assert.rejects(one.receive({ signal: AbortSignal.abort() }), { name: 'AbortError', code: 'ABORT_ERR' });
assert.throws(() => new OwnedFd(1 << 30), { code: 'EBADF' });
await Promise.all([one.close(), other.close()]);
await assert.rejects(
  one.receive(),
  (error) => error instanceof FdPasserError && error.name === 'FdPasserError' && error.code === 'ERR_FDPASSER_CLOSED',
);

if (isMainThread && process.argv[2] === 'worker') {
  const [code] = (await once(new Worker(new URL(import.meta.url)), 'exit')) as [number];
  assert.equal(code, 0);
}
