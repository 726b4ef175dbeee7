import assert from 'node:assert/strict';
import { fstatSync } from 'node:fs';
import { anonymousFile, identity } from '../support/descriptors.js';
import { connected, pushFiles, receiveFiles } from '../support/passing.js';
import { test } from '../support/test.js';

const NOT_OPEN = { code: 'EBADF' };

test('a send that the callback of a send in the same call aborts was sent all the same', async () => {
  const [one, other] = connected();
  const control = new AbortController();
  const fds = [anonymousFile(), anonymousFile()] as const;
  const files = fds.map(identity);
  one.pushSendFh(fds[0], () => control.abort());
  await one.send(fds[1], { signal: control.signal });
  assert.throws(() => fstatSync(fds[1]), NOT_OPEN);
  assert.deepEqual(await receiveFiles(other, 2), files);
  assert.deepEqual(pushFiles(one, 1), await receiveFiles(other, 1));
  one.destroy();
  other.destroy();
});
