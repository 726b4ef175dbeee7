import assert from 'node:assert/strict';
import { closeSync, fstatSync } from 'node:fs';
import { OwnedFd, socketpair } from 'fdpasser';
import { anonymousFile, identity } from '../support/descriptors.js';
import { connected, pushFiles, receiveFiles } from '../support/passing.js';
import { test } from '../support/test.js';

const NOT_OPEN = { code: 'EBADF' };

test('receiveMany brings what was sent together, in order, and no more than asked for', async () => {
  const [one, other] = connected({ batch: 10 });
  const files = pushFiles(one, 1000);
  const received: string[] = [];
  while (received.length < files.length) {
    const fds = await other.receiveMany({ most: 64 });
    assert.ok(fds.length >= 1 && fds.length <= 64);
    received.push(...fds.map(({ fd }) => identity(fd)));
    OwnedFd.closeAll(fds);
  }
  assert.deepEqual(received, files);
  one.destroy();
  other.destroy();
});

test('receive and receiveMany wait in one queue', async () => {
  const [one, other] = connected({ batch: 8 });
  const all = [other.receive(), other.receiveMany({ most: 3 }), other.receive(), other.receiveMany()];
  const files = pushFiles(one, 8);
  const received = (await Promise.all(all)).flat();
  assert.deepEqual(
    received.map(({ fd }) => identity(fd)),
    files,
  );
  OwnedFd.closeAll(received);
  one.destroy();
  other.destroy();
});

test('an aborted receiveMany loses nothing', async () => {
  const [one, other] = connected();
  const leaving = new AbortController();
  const none = other.receiveMany({ signal: leaving.signal });
  leaving.abort();
  await assert.rejects(none, { name: 'AbortError' });
  const files = pushFiles(one, 3);
  assert.deepEqual(await receiveFiles(other, 3), files);
  one.destroy();
  other.destroy();
});

test('receiveMany refuses to take none', async () => {
  const [one, other] = connected();
  await assert.rejects(other.receiveMany({ most: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  await assert.rejects(other.receiveMany({ most: '1' as unknown as number }), { code: 'ERR_INVALID_ARG_TYPE' });
  one.destroy();
  other.destroy();
});

test('closeAll closes each once, whatever their numbers', () => {
  const owned = Array.from({ length: 40 }, () => new OwnedFd(anonymousFile()));
  const numbers = owned.map(({ fd }) => fd);
  const kept = [3, 4, 17, 39].map((index) => owned[index]!);
  const others = owned.filter((fd) => !kept.includes(fd));
  const names = kept.map(({ fd }) => identity(fd));
  OwnedFd.closeAll([...others.toReversed(), ...others]);
  assert.deepEqual(
    kept.map(({ fd }) => identity(fd)),
    names,
  );
  const open = new Set(kept.map(({ fd }) => fd));
  for (const fd of numbers) if (!open.has(fd)) assert.throws(() => fstatSync(fd), NOT_OPEN);
  assert.ok(others.every(({ closed }) => closed));
  OwnedFd.closeAll(kept);
  OwnedFd.closeAll(kept);
});

test('closeAll leaves a lent descriptor open until it was sent', async () => {
  const [one, other] = connected();
  const owned = new OwnedFd(anonymousFile());
  const { fd } = owned;
  const file = identity(fd);
  const sent = one.send(owned, { keepOpen: true });
  OwnedFd.closeAll([owned]);
  assert.equal(identity(fd), file);
  await sent;
  assert.throws(() => fstatSync(fd), NOT_OPEN);
  assert.deepEqual(await receiveFiles(other, 1), [file]);
  one.destroy();
  other.destroy();
});

test('closeAll closes the right descriptors when its iterator opens others', () => {
  const owned = Array.from({ length: 3 }, () => new OwnedFd(anonymousFile()));
  const pairs: OwnedFd[] = [];
  const bystander = anonymousFile();
  function* opening(): Generator<OwnedFd> {
    for (const fd of owned) {
      pairs.push(...socketpair());
      yield fd;
    }
  }
  OwnedFd.closeAll(opening());
  assert.ok(owned.every(({ closed }) => closed));
  for (const { fd } of pairs) assert.ok(fstatSync(fd).isSocket());
  assert.ok(fstatSync(bystander).isFile());
  OwnedFd.closeAll(pairs);
  closeSync(bystander);
});
