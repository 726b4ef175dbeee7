import { readAll, Script, streamPair, assertArrived, lookAround } from '../support/stream.js';
import { test } from '../support/test.js';

test('a stream brings each descriptor once when bytes fill a receive and descriptors are queued behind them', async () => {
  const [one, other] = streamPair();
  const script = new Script(one);
  script.write(100_000); // more than one receive takes
  script.write(10, 2);
  one.end();
  await lookAround(); // all of it is queued
  assertArrived(await readAll(other), script.sent);
});

test('a stream brings descriptors in order and never later than their bytes when chunks are larger than a receive', async () => {
  const [one, other] = streamPair();
  const script = new Script(one);
  const arrived = readAll(other);
  for (let i = 0; i < 30; i++) script.write(50_000 * (1 + (i % 5)), i % 3);
  one.end();
  assertArrived(await arrived, script.sent);
});
