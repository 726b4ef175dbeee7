import assert from 'node:assert/strict';
import { closeSync, fstatSync } from 'node:fs';
import { FdChannel, FdPasser, FdStream, OwnedFd, connect, listen, socketpair, type FdLike } from 'fdpasser';
import { fileURLToPath } from 'node:url';
import { anonymousFile } from '../support/descriptors.js';
import { test } from '../support/test.js';

const TYPE = { code: 'ERR_INVALID_ARG_TYPE' };

test('keepOpen must be a boolean: a truthy one does not close the descriptor', () => {
  const passer = new FdPasser();
  const fd = anonymousFile();
  try {
    assert.throws(() => passer.pushSendFh(fd, { keepOpen: 1 as unknown as boolean }), TYPE);
  } finally {
    passer.destroy();
  }
  fstatSync(fd);
  closeSync(fd);
});

test('listen refuses a path that is missing', () => {
  assert.throws(() => listen(undefined as unknown as string), TYPE);
});

test('connect refuses a path that is missing', async () => {
  await assert.rejects(connect(undefined as unknown as string), TYPE);
});

test('options that are null are refused', async () => {
  const passer = new FdPasser();
  const fd = anonymousFile();
  const none = null as unknown as object;
  const calls = [
    () => passer.pushSendFh(fd, none),
    () => passer.send(fd, none),
    () => passer.receive(none),
    () => listen('/nowhere/socket', none),
    () => connect('/nowhere/socket', none),
  ];
  const codes: unknown[] = [];
  for (const call of calls)
    await (async () => call())().catch((error: unknown) => codes.push((error as NodeJS.ErrnoException).code));
  passer.destroy();
  closeSync(fd);
  assert.deepEqual(
    codes,
    Array.from(calls, () => TYPE.code),
  );
});

test("a single descriptor in place of a pair is refused, and stays its owner's", () => {
  const [a, b] = socketpair();
  assert.throws(() => new FdPasser({ fh: [a] as unknown as [FdLike, FdLike] }), TYPE);
  assert.equal(a.closed, false);
  a.close();
  b.close();
});

test('a signal in the place of options is refused', async () => {
  const passer = new FdPasser();
  await assert.rejects(passer.receive(new AbortController().signal as object), TYPE);
  passer.destroy();
});

const closeAll = (fds: unknown) => () => OwnedFd.closeAll(fds as OwnedFd[]);

test('closeAll closes none when one is not an OwnedFd, and says which', () => {
  const owned = new OwnedFd(anonymousFile());
  for (const fds of [owned, 3, undefined, null]) assert.throws(closeAll(fds), TYPE);
  for (const wrong of [3, null]) assert.throws(closeAll([owned, wrong]), { ...TYPE, message: /"fds\[1\]"/ });
  assert.throws(closeAll('abc'), { ...TYPE, message: /"fds\[0\]"/ });
  assert.equal(owned.closed, false);
  owned.close();
});

test('the error of a rejected promise has the calling line in its stack', async () => {
  const passer = new FdPasser();
  const [a, b] = socketpair();
  const channel = new FdChannel(a);
  const here = fileURLToPath(import.meta.url);
  const path = here as unknown as FdLike;
  for (const call of [
    () => passer.send(path),
    () => channel.send({}, [path]),
    () => passer.receive(3 as unknown as object),
  ])
    await assert.rejects(call, (error: Error) => error.stack!.includes(here));
  passer.destroy();
  channel.destroy();
  b.close();
});

test('an error about several descriptors says which was at fault', async () => {
  const [a, b] = socketpair();
  const [channel, stream] = [new FdChannel(a), new FdStream(b)];
  const fds = [0, 'a path' as unknown as FdLike];
  const which = { ...TYPE, message: /\(fds\[1\]\)$/ };
  await assert.rejects(channel.send({}, fds, { keepOpen: true }), which);
  assert.throws(() => stream.writeWithFds(Buffer.alloc(1), fds, { keepOpen: true }), which);
  channel.destroy();
  stream.destroy();
});

test('classes have the names that they are exported by', () => {
  for (const [name, Class] of Object.entries({ FdChannel, FdPasser, FdStream, OwnedFd }))
    assert.equal(Class.name, name);
});
