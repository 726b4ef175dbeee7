import assert from 'node:assert/strict';
import { closeSync, fstatSync } from 'node:fs';
import { FdPasser, connect, listen } from 'fdpasser';
import { anonymousFile } from './support/descriptors.js';
import { test } from './support/test.js';

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

test('null options are refused', async () => {
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
