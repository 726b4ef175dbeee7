import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import * as one from 'fdpasser';
import { anonymousFile, identity, isOpen } from '../support/descriptors.js';
import { test } from '../support/test.js';

type Library = typeof one;

const OWNED = { code: 'ERR_FDPASSER_OWNED' };
const MANAGED = { code: 'ERR_FDPASSER_MANAGED' };

const here = import.meta.resolve('fdpasser');

const bundle = fileURLToPath(new URL('.', here));
const root = dirname(dirname(bundle));

/** Makes another copy of the package, with its own core or the same one; returns what to import. */
function copied(ownCore: boolean): string {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-copy-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  cpSync(bundle, join(folder, 'dist/bundle'), { recursive: true });
  if (ownCore) cpSync(join(root, 'build', core), join(folder, 'build', core), { recursive: true });
  else symlinkSync(join(root, 'build'), join(folder, 'build'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  return pathToFileURL(join(folder, 'dist/bundle/index.js')).href;
}

const core = `${process.platform}-${process.arch}`;
const elsewhere = copied(true);

// Before the tests: a core may open descriptors of its own when it is loaded.
const copies: Record<string, Library> = {
  'with the same core': (await import(copied(false))) as Library,
  'with a core of its own': (await import(elsewhere)) as Library,
};

/** A passer of this copy whose peer receives nothing until `go`. */
function waiting({ FdPasser }: Library) {
  const passer = new FdPasser();
  const go = (): one.FdPasser => {
    const other = new FdPasser({ fh: passer.peer.dup() });
    passer.iAmParent();
    return other;
  };
  return [passer, go] as const;
}

for (const [how, other] of Object.entries(copies)) {
  for (const [A, B] of [
    [one, other],
    [other, one],
  ] as const)
    test(`two copies, one ${how}: a number that the ${A === one ? 'first' : 'second'} owns is refused by the other`, async () => {
      assert.notEqual(A.OwnedFd, B.OwnedFd);
      const owned = new A.OwnedFd(anonymousFile());
      const [a, b] = B.socketpair();
      const passer = new B.FdPasser({ fh: a });
      assert.throws(() => new B.OwnedFd(owned.fd), OWNED);
      assert.throws(() => new A.OwnedFd(b.fd), OWNED);
      await assert.rejects(passer.send(owned.fd), OWNED);
      await assert.rejects(passer.send(owned), { ...MANAGED, message: /another copy of fdpasser/ });
      assert.throws(() => passer.pushSendFh(owned), MANAGED);
      assert.throws(() => new B.FdStream(owned), MANAGED);
      assert.throws(() => B.OwnedFd.closeAll([b, owned]), MANAGED);
      await passer.send(owned, { keepOpen: true });
      await passer.send(owned.take());
      passer.destroy();
      b.close();
    });

  test(`two copies, one ${how}: what one lends, the other does not close before it was sent`, async () => {
    for (const [A, B] of [
      [one, other],
      [other, one],
    ] as const) {
      const [slow, go] = waiting(A);
      const [a, b] = B.socketpair();
      const [quick, quickPeer] = [new B.FdPasser({ fh: a }), new B.FdPasser({ fh: b })];
      const fd = anonymousFile();
      const file = identity(fd);
      const lent = slow.send(fd, { keepOpen: true });
      await quick.send(fd);
      assert.equal(identity(fd), file);
      const slowPeer = go();
      for (const received of [await quickPeer.receive(), await slowPeer.receive()]) {
        assert.equal(identity(received.fd), file);
        received.close();
      }
      await lent;
      assert.equal(isOpen(fd), false);
      for (const passer of [slow, slowPeer, quick, quickPeer]) passer.destroy();
    }
  });

  test(`two copies, one ${how}: a number closed behind its owner, and received by the other, is not closed by the owner`, async () => {
    const [a, b] = other.socketpair();
    const [sender, receiver] = [new other.FdPasser({ fh: a }), new other.FdPasser({ fh: b })];
    const file = anonymousFile();
    const stale = new one.OwnedFd(anonymousFile());
    const { fd } = stale;
    closeSync(fd);
    await sender.send(file, { keepOpen: true });
    using received = await receiver.receive();
    assert.equal(received.fd, fd);
    assert.throws(() => stale.close(), { code: 'ERR_FDPASSER_CLOSED_BEHIND' });
    assert.equal(identity(received.fd), identity(file));
    closeSync(file);
    sender.destroy();
    receiver.destroy();
  });
}

test('a number that a thread owns is refused in another, also by another copy, until it ends', async () => {
  for (const library of [here, elsewhere]) {
    const fd = anonymousFile();
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.library).then(({ OwnedFd }) => {
        globalThis.owned = new OwnedFd(workerData.fd);
        parentPort.on('message', () => {});
        parentPort.postMessage('owned');
      });`,
      { eval: true, workerData: { library, fd } },
    );
    await once(worker, 'message');
    assert.throws(() => new one.OwnedFd(fd), OWNED);
    await worker.terminate();
    assert.equal(isOpen(fd), false);
    new one.OwnedFd(anonymousFile()).close();
  }
});
