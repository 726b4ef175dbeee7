/** Ends by process.exit() during transfers, here and in workers. argv: who calls it, "main" or "worker". */
import { once } from 'node:events';
import { Worker, isMainThread, workerData } from 'node:worker_threads';
import { FdPasser, socketpair } from 'fdpasser';
import { receiveAll, sendNew } from '../../support/exchange.js';

const CODE = 7;

async function transfer(whenBusy: () => void): Promise<never> {
  const [a, b] = socketpair();
  const one = new FdPasser({ fh: a });
  const other = new FdPasser({ fh: b });
  for (let round = 0; ; round++) {
    sendNew(one, 30);
    await receiveAll(other, 15);
    sendNew(other, 5);
    await receiveAll(one, 3);
    if (round === 5) whenBusy();
    await receiveAll(other, 15);
  }
}

if (!isMainThread) await transfer(() => workerData === 'worker' && process.exit(CODE));
else {
  process.disconnect();
  const workers = Array.from(
    { length: 3 },
    () => new Worker(new URL(import.meta.url), { workerData: process.argv[2] }),
  );
  if (process.argv[2] === 'main') {
    await Promise.all(workers.map((worker) => once(worker, 'online')));
    await transfer(() => process.exit(CODE));
  } else {
    const codes = (await Promise.all(workers.map((worker) => once(worker, 'exit')))) as [number][];
    process.exitCode = codes.every(([code]) => code === CODE) ? CODE : 1;
  }
}
