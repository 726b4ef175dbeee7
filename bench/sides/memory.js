/**
 * One side for scripts/memory.js: `passer|channel|stream send|receive`. After each run it collects its garbage, and
 * reports the memory that it then has, in MiB.
 */
import { FdChannel, FdPasser, FdStream, OwnedFd } from 'fdpasser';
import { setTimeout as sleep } from 'node:timers/promises';
import { deferred, passed, serve, SOCKET } from './side.js';

const lent = new OwnedFd(passed);
const LEND = { keepOpen: true };
const WITH_FD = 10;
const UNDER_WAY = 256;
const BYTES = 1024;
const MIB = 2 ** 20;

const wires = {
  passer() {
    const passer = new FdPasser({ fh: SOCKET });
    return {
      send: (total) => several(total, () => passer.send(lent, LEND)),
      async receive(total) {
        for (let left = total; left > 0; left--) (await passer.receive()).close();
      },
    };
  },

  channel() {
    const channel = new FdChannel(SOCKET);
    return {
      send: (total) =>
        several(total, (i) => channel.send({ id: i, path: '/run/service' }, i % WITH_FD === 0 ? [lent] : [], LEND)),
      async receive(total) {
        for (let left = total; left > 0; left--) OwnedFd.closeAll((await channel.receive()).fds);
      },
    };
  },

  stream() {
    const stream = new FdStream(SOCKET);
    const chunk = Buffer.alloc(BYTES);
    const write = (i, done) =>
      i % WITH_FD === 0 ? stream.writeWithFds(chunk, [lent], LEND, done) : stream.write(chunk, done);
    let bytesLeft = 0;
    let fdsLeft = 0;
    let arrived;
    const look = () => bytesLeft === 0 && fdsLeft === 0 && arrived?.();
    stream.on('fds', (fds) => {
      OwnedFd.closeAll(fds);
      fdsLeft -= fds.length;
      look();
    });
    stream.on('data', ({ length }) => {
      bytesLeft -= length;
      look();
    });
    return {
      send: (total) =>
        several(
          total,
          (i) => new Promise((resolve, reject) => write(i, (error) => (error ? reject(error) : resolve()))),
        ),
      receive(total) {
        const { promise, resolve } = deferred();
        bytesLeft += total * BYTES;
        fdsLeft += Math.ceil(total / WITH_FD);
        arrived = resolve;
        look();
        return promise;
      },
    };
  },
};

/** Sends messages 0 to total - 1, several under way at a time. */
async function several(total, send) {
  let next = 0;
  const sender = async () => {
    while (next < total) await send(next++);
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, sender));
}

/** Collects twice: the second collection frees what the first finalizes. */
async function memory() {
  for (let i = 0; i < 2; i++) {
    globalThis.gc();
    await sleep(0);
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed / MIB, rss: rss / MIB };
}

const [wire, mode] = process.argv.slice(2);
const run = wires[wire]()[mode];
await serve(
  async (total) => {
    await run(total);
    return memory();
  },
  { receives: mode === 'receive' },
);
