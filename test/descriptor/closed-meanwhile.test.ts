import assert from 'node:assert/strict';
import { FdChannel, FdPasser, FdStream, socketpair, type FdLike } from 'fdpasser';
import { channels } from '../support/channels.js';
import { anonymousFile, closeAll, identity, leftOpen, openDescriptors } from '../support/descriptors.js';
import { test } from '../support/test.js';

const CLOSED = { code: 'ERR_FDPASSER_CLOSED' };

/** A descriptor that does something else when it is asked for its number. */
function withCode(fd: number, code: () => void): FdLike {
  return {
    get fd() {
      code();
      return fd;
    },
  };
}

/** Hands a file to `send`, which must refuse it and leave it as it was. */
async function refused(send: (fd: number) => unknown): Promise<void> {
  const fd = anonymousFile();
  const file = identity(fd);
  await assert.rejects(async () => send(fd), CLOSED);
  assert.equal(identity(fd), file);
  closeAll([fd]); // nobody owns it
}

for (const way of ['close', 'destroy'] as const) {
  test(`a send whose descriptor calls ${way}() when it is asked for its number is refused`, async () => {
    const before = openDescriptors();
    for (const keepOpen of [false, true]) {
      const [a, b] = socketpair();
      const passer = new FdPasser({ fh: a });
      await refused((fd) =>
        passer.send(
          withCode(fd, () => void passer[way]()),
          { keepOpen },
        ),
      );
      const [c, d] = socketpair();
      const pusher = new FdPasser({ fh: c });
      await refused((fd) =>
        pusher.pushSendFh(
          withCode(fd, () => void pusher[way]()),
          { keepOpen },
        ),
      );
      const [one, other] = channels();
      const another = anonymousFile();
      await refused((fd) => one.send(1, [another, withCode(fd, () => void one[way]())], { keepOpen }));
      closeAll([another, b.take(), d.take()]);
      await one.close();
      other.destroy();
    }
    assert.deepEqual(leftOpen(before), []);
  });

  test(`a send of a value whose toJSON calls ${way}() is refused`, async () => {
    const [one, other] = channels();
    await refused((fd) => one.send({ toJSON: () => [void one[way]()] }, [fd]));
    await one.close();
    other.destroy();
  });
}

for (const way of ['end', 'destroy'] as const) {
  test(`a write whose descriptor calls ${way}() when it is asked for its number is refused`, async () => {
    const [a, b] = socketpair();
    const stream = new FdStream(a);
    await refused((fd) => stream.writeWithFds(Buffer.from('x'), [withCode(fd, () => void stream[way]())]));
    stream.destroy();
    b.close();
  });
}

test('a send of a value whose toJSON aborts it is aborted', async () => {
  const [a, b] = socketpair();
  const channel = new FdChannel(a); // its peer never says hello, so the message waits
  const control = new AbortController();
  const sent = channel.send({ toJSON: () => [control.abort()] }, [], { signal: control.signal });
  await assert.rejects(sent, { name: 'AbortError' });
  channel.destroy();
  b.close();
});
