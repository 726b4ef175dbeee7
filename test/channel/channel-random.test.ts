import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import type { FdChannel } from 'fdpasser';
import { amount } from '../support/amount.js';
import { channels, TYPES } from '../support/channels.js';
import { anonymousFile, identity } from '../support/descriptors.js';
import { Random } from '../support/random.js';
import { partly } from '../support/test.js';

interface Expected {
  bytes: Buffer;
  files: number[];
}

function anyMessage(random: Random): Expected {
  return {
    bytes: Buffer.alloc(random.below(random.of([2, 100, 5000, 70_000, 200_000])), random.below(256)),
    files: Array.from({ length: random.below(random.of([1, 1, 3, 20, 600])) }, () => random.below(32)),
  };
}

for (const type of TYPES)
  partly(type === 'stream')(
    `messages of all sizes get their own descriptors, both ways and whatever the window, over a ${type} socket`,
    async () => {
      const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
      const random = new Random(seed);
      const fds = Array.from({ length: 32 }, anonymousFile);
      const identities = fds.map(identity);
      for (let round = 0; round < amount(12, 2); round++) {
        const highWaterMark = random.of([1, 1000, 65_536, 300_000, 1 << 22]);
        const [one, other] = channels<Buffer>({ type, codec: 'bytes', highWaterMark, maxFds: random.of([600, 2000]) });
        const exchange = async (from: FdChannel<Buffer>, to: FdChannel<Buffer>) => {
          const expected = Array.from({ length: 150 }, () => anyMessage(random));
          const sends = expected.map(({ bytes, files }) =>
            from.send(
              bytes,
              files.map((file) => fds[file]!),
              { keepOpen: true, confirm: random.once(3) },
            ),
          );
          for (const { bytes, files } of expected) {
            if (random.once(10)) await new Promise(setImmediate);
            using message = await to.receive();
            assert.ok(message.value.equals(bytes), `SEED=${seed}`);
            assert.deepEqual(
              message.fds.map(({ fd }) => identity(fd)),
              files.map((file) => identities[file]),
              `SEED=${seed}`,
            );
          }
          await Promise.all(sends);
        };
        await Promise.all([exchange(one, other), exchange(other, one)]);
        await Promise.all([one.close(), other.close()]);
      }
      for (const fd of fds) closeSync(fd);
    },
  );
