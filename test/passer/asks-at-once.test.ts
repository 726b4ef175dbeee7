import assert from 'node:assert/strict';
import { FdPasser, socketpair } from 'fdpasser';
import { identity, until } from '../support/descriptors.js';
import { pushFiles, receiveFiles, turns } from '../support/passing.js';
import { test } from '../support/test.js';

test('receives made at once get what waits here, and then what waits in the kernel', async () => {
  const [a, b] = socketpair();
  const passer = new FdPasser({ fh: a });
  const peer = new FdPasser({ fh: b, batch: 2 });
  const files = pushFiles(peer, 4);
  const received = await receiveFiles(passer, 1);
  await turns();
  for (let i = 0; i < 3; i++)
    passer.pushRecvFh((fd) => {
      received.push(identity(fd.fd));
      fd.close();
    });
  try {
    await until(() => received.length === 4);
    assert.deepEqual(received, files);
  } finally {
    passer.destroy();
    peer.destroy();
  }
});
