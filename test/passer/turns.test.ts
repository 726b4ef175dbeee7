import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import type { OwnedFd } from 'fdpasser';
import { anonymousFile } from '../support/descriptors.js';
import { connected, pushFiles } from '../support/passing.js';
import { test } from '../support/test.js';

const FILES = 100;
/** What a receive may bring while its callbacks are slow. */
const FEW = 4;

/** Keeps the event loop busy for longer than a turn should last. */
function work(): void {
  const end = performance.now() + 1;
  while (performance.now() < end);
}

/** Counts what happens in each turn of the event loop until it is stopped, which returns the most in one turn. */
class Turns {
  #most = 0;
  #inThisTurn = 0;
  #done = false;

  constructor() {
    const turn = (): void => {
      this.#most = Math.max(this.#most, this.#inThisTurn);
      this.#inThisTurn = 0;
      if (!this.#done) setImmediate(turn);
    };
    setImmediate(turn);
  }

  count(): void {
    this.#inThisTurn++;
  }

  stop(): number {
    this.#done = true;
    return Math.max(this.#most, this.#inThisTurn);
  }
}

test('the event loop turns after a few callbacks that take long, though many descriptors are there', async () => {
  const [from, to] = connected();
  pushFiles(from, FILES);
  await from.close();

  const turns = new Turns();
  await new Promise<void>((resolve) => {
    let received = 0;
    const got = (fd: OwnedFd): void => {
      fd.close();
      work();
      turns.count();
      if (++received === FILES) resolve();
    };
    for (let i = 0; i < FILES; i++) to.pushRecvFh(got);
  });
  const most = turns.stop();
  assert.ok(most <= FEW, `${most} in one turn`);
  await to.close();
});

test('the event loop turns while each sent callback sends another descriptor, and the peer has room', async () => {
  const [from, to] = connected();
  const fd = anonymousFile();
  const turns = new Turns();
  await new Promise<void>((resolve) => {
    let sent = 0;
    const next = (): void => {
      work();
      turns.count();
      if (++sent === FILES) resolve();
      else from.pushSendFh(fd, { keepOpen: true }, next);
    };
    from.pushSendFh(fd, { keepOpen: true }, next);
  });
  const most = turns.stop();
  assert.ok(most <= FEW, `${most} in one turn`);
  closeSync(fd);
  from.destroy();
  to.destroy();
});

test('the event loop turns while one send is awaited after the other, and the peer has room', async () => {
  const SENDS = 250; // the kernel takes these at once
  const [from, to] = connected();
  const fd = anonymousFile();
  const turns = new Turns();
  for (let i = 0; i < SENDS; i++) {
    await from.send(fd, { keepOpen: true });
    turns.count();
  }
  assert.ok(turns.stop() < SENDS, 'it never turned');
  closeSync(fd);
  from.destroy();
  to.destroy();
});
