import assert from 'node:assert/strict';
import { FdPasser, connect, listen, socketpair } from 'fdpasser';
import { ended, startChild } from '../support/child.js';
import { anonymousFile, identity, inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** Sends `count` files each way at once, and checks on both sides that they arrive as sent. */
async function exchange(one: FdPasser, other: FdPasser, count: number): Promise<void> {
  const directions = [
    [one, other],
    [other, one],
  ] as const;
  await Promise.all(
    directions.map(async ([from, to]) => {
      const sent: string[] = [];
      for (let i = 0; i < count; i++) {
        const fd = anonymousFile();
        sent.push(identity(fd));
        from.pushSendFh(fd);
      }
      const received: string[] = [];
      for (let i = 0; i < count; i++) {
        using fd = await to.receive();
        received.push(identity(fd.fd));
      }
      assert.deepEqual(received, sent);
    }),
  );
}

test('a passer passes both ways at the same time over a pair', async () => {
  for (const type of ['stream', 'seqpacket', 'dgram'] as const) {
    const [a, b] = socketpair({ type });
    await using one = new FdPasser({ fh: a });
    await using other = new FdPasser({ fh: b });
    await exchange(one, other, 100);
  }
});

test('a passer passes both ways at the same time over a path', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const [a, b] = await Promise.all([connect(server.path), server.accept()]);
    await using one = new FdPasser({ fh: a });
    await using other = new FdPasser({ fh: b });
    await exchange(one, other, 100);
  });
});

test('a passer passes both ways between a parent and a spawned child', async () => {
  const passer = new FdPasser();
  const child = startChild('passer/echo', { peer: passer.peer });
  passer.iAmParent();
  for (let i = 0; i < 100; i++) {
    const fd = anonymousFile();
    const sent = identity(fd);
    passer.pushSendFh(fd);
    using back = await passer.receive();
    assert.equal(identity(back.fd), sent);
  }
  await passer.close();
  const { code, signal, stderr } = await ended(child);
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
});
