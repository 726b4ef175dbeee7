/** The work of a worker thread in test/descriptor/worker.test.ts. It ends by itself; a failure is its error. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { FdPasser, OwnedFd, connect, listen, socketpair } from 'fdpasser';
import { collectUntil, leftOpen, openDescriptors } from '../../support/descriptors.js';
import { exchange, receiveAll, sendNew } from '../../support/exchange.js';

const tasks = {
  async pair() {
    for (const type of ['stream', 'seqpacket', 'dgram'] as const) {
      const [a, b] = socketpair({ type });
      await using one = new FdPasser({ fh: a });
      await using other = new FdPasser({ fh: b });
      await exchange(one, other, 100);
    }
  },

  async path() {
    using server = listen(`\0fdpasser-${process.pid}-path`);
    const [a, b] = await Promise.all([connect(server.path), server.accept()]);
    await using one = new FdPasser({ fh: a });
    await using other = new FdPasser({ fh: b });
    await exchange(one, other, 100);
  },

  async main(fd: number) {
    await using passer = new FdPasser({ fh: fd });
    const sent = sendNew(passer, 100);
    const received = await receiveAll(passer, 100);
    parentPort!.postMessage({ sent, received }, []);
    await once(parentPort!, 'message'); // the other side has all
  },

  async garbage() {
    const warning = once(process, 'warning') as Promise<[Error]>;
    const before = openDescriptors();
    (() => {
      for (const end of socketpair()) assert.ok(end instanceof OwnedFd);
    })();
    assert.equal(leftOpen(before).length, 2);
    await collectUntil(() => leftOpen(before).length === 0);
    assert.match((await warning)[0].message, /garbage-collected/);
  },

  async pending() {
    const passer = new FdPasser();
    passer.iAmParent();
    const receives = [passer.receive(), passer.receive()];
    const [a, b] = socketpair();
    const alone = new FdPasser({ fh: a });
    receives.push(alone.receive());
    passer.destroy();
    await alone.close();
    b.close();
    for (const receive of receives) await assert.rejects(receive);
  },
} as const;

const { task, fd } = workerData as { task: keyof typeof tasks; fd: number };
await tasks[task](fd);
