/** A worker that runs until it is terminated. */
import { parentPort, threadId, workerData } from 'node:worker_threads';
import { FdPasser, connect, listen, socketpair, type OwnedFd } from 'fdpasser';
import { receiveAll, sendNew } from '../../support/exchange.js';

export const TASKS = ['exchange', 'send', 'receive', 'accept', 'exhaust'] as const;
export type Task = (typeof TASKS)[number];

const [a, b] = socketpair();
const one = new FdPasser({ fh: a });
const other = new FdPasser({ fh: b });

const tasks: Record<Task, () => Promise<unknown>> = {
  async exchange() {
    for (;;) {
      sendNew(one, 20);
      sendNew(other, 10);
      await Promise.all([receiveAll(other, 20), receiveAll(one, 10)]);
    }
  },
  async send() {
    sendNew(one, 20);
    for (;;) {
      const [sent, other] = socketpair();
      other.close();
      await one.send(sent);
    }
  },
  receive: () => Promise.all([one.receive(), other.receive()]),
  async accept() {
    const server = listen(`\0fdpasser-${process.pid}-${threadId}`);
    for (;;) {
      const [client, accepted] = await Promise.all([connect(server.path), server.accept()]);
      client.close();
      accepted.close();
    }
  },
  async exhaust() {
    sendNew(one, 20);
    const [spare] = socketpair();
    const filler: OwnedFd[] = [];
    try {
      for (;;) filler.push(spare.dup());
    } catch {
      other.on('exhausted', () => filler.pop()?.close());
      await receiveAll(other, 20);
      await other.receive();
    }
  },
};

parentPort!.on('message', () => {}); // nothing but termination ends this
parentPort!.postMessage('running', []);
await tasks[workerData as Task]();
