import assert from 'node:assert/strict';
import type { OwnedFd } from 'fdpasser';
import { connected, pushFiles } from './support/passing.js';
import { test } from './support/test.js';

const FILES = 100;
/** What a receive may bring while its callbacks are slow. */
const FEW = 4;

/** Keeps the event loop busy for longer than a turn should last. */
function work(): void {
  const end = performance.now() + 1;
  while (performance.now() < end);
}

test('the event loop turns after a few callbacks that take long, though many descriptors are there', async () => {
  const [from, to] = connected();
  pushFiles(from, FILES);
  await from.close();

  const turns: number[] = [];
  let inThisTurn = 0;
  let done = false;
  const turn = (): void => {
    turns.push(inThisTurn);
    inThisTurn = 0;
    if (!done) setImmediate(turn);
  };
  setImmediate(turn);
  await new Promise<void>((resolve) => {
    let received = 0;
    const got = (fd: OwnedFd): void => {
      fd.close();
      work();
      inThisTurn++;
      if (++received === FILES) resolve();
    };
    for (let i = 0; i < FILES; i++) to.pushRecvFh(got);
  });
  done = true;
  turns.push(inThisTurn);
  assert.equal(
    turns.reduce((sum, count) => sum + count, 0),
    FILES,
  );
  assert.ok(Math.max(...turns) <= FEW, `${Math.max(...turns)} in one turn`);
  await to.close();
});
