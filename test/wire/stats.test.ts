import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { FdPasser, FdStream, socketpair } from 'fdpasser';
import { anonymousFile, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

const NOTHING = {
  messagesSent: 0,
  descriptorsSent: 0,
  bytesSent: 0,
  messagesReceived: 0,
  descriptorsReceived: 0,
  bytesReceived: 0,
  sendWaits: 0,
  receiveWaits: 0,
};

test('stats of a passer report what it carried and what waits, even once it is closed', async () => {
  const [a, b] = socketpair({ type: 'seqpacket' });
  const one = new FdPasser(a, { batch: 2, payload: Buffer.alloc(3) });
  const other = new FdPasser(b);
  const nothing = { ...NOTHING, queued: 0, waiting: 0, asking: 0 };
  assert.deepEqual(one.stats(), nothing);
  for (let i = 0; i < 4; i++) one.pushSendFh(anonymousFile());
  assert.equal(one.stats().queued, 4);
  const first = other.receive();
  assert.equal(other.stats().asking, 1);
  (await first).close();
  const sent = { messagesSent: 2, descriptorsSent: 4, bytesSent: 6 };
  assert.deepEqual(one.stats(), { ...nothing, ...sent });
  // The second of the first message was not asked for.
  const received = { messagesReceived: 1, descriptorsReceived: 2, bytesReceived: 3 };
  assert.deepEqual(other.stats(), { ...nothing, ...received, waiting: 1 });
  one.destroy();
  other.destroy();
  assert.deepEqual(one.stats(), { ...nothing, ...sent });
  assert.deepEqual(other.stats(), { ...nothing, ...received });
});

test('stats of a passer that has both ends are zero except for what waits', () => {
  const passer = new FdPasser();
  passer.pushSendFh(1, { keepOpen: true });
  assert.deepEqual(passer.stats(), { ...NOTHING, queued: 1, waiting: 0, asking: 0 });
  passer.destroy();
});

test('stats of a stream count the bytes of each end alike', async () => {
  const [a, b] = socketpair();
  const [one, other] = [new FdStream(a), new FdStream(b)];
  other.on('fds', (fds: { close(): void }[]) => fds.forEach((fd) => fd.close()));
  one.write(Buffer.alloc(3_000_000));
  one.writeWithFds(Buffer.alloc(10), [anonymousFile(), anonymousFile()]);
  one.end();
  let bytes = 0;
  for await (const chunk of other) bytes += (chunk as Buffer).length;
  assert.equal(bytes, 3_000_010);
  const { bytesSent, descriptorsSent, sendWaits } = one.stats();
  const { bytesReceived, descriptorsReceived } = other.stats();
  assert.deepEqual([bytesSent, descriptorsSent], [bytes, 2]);
  assert.deepEqual([bytesReceived, descriptorsReceived], [bytes, 2]);
  assert.ok(sendWaits > 0);
});

test('console.log of a passer shows its state and what waits', async () => {
  const passer = new FdPasser();
  assert.equal(inspect(passer), "FdPasser { state: 'side not chosen', queued: 0, waiting: 0, asking: 0 }");
  passer.pushSendFh(1, { keepOpen: true });
  passer.pushRecvFh((fd) => fd.close());
  const other = new FdPasser(passer.peer.dup());
  passer.iAmParent();
  assert.equal(inspect(passer), "FdPasser { state: 'open', queued: 1, waiting: 0, asking: 1 }");
  passer.destroy();
  assert.equal(
    inspect([passer], { breakLength: Infinity }),
    "[ FdPasser { state: 'closed', queued: 0, waiting: 0, asking: 0 } ]",
  );
  other.destroy();
});

test('console.log of a stream shows its state and what waits', async () => {
  const [a, b] = socketpair();
  class Named extends FdStream {}
  const [one, other] = [new Named(a), new FdStream(b)];
  assert.equal(inspect(one), "Named { state: 'open', toWrite: 0, toRead: 0 }");
  one.end('abc');
  assert.equal(inspect(one), "Named { state: 'ended', toWrite: 3, toRead: 0 }");
  other.resume();
  await until(() => inspect(other) === "FdStream { state: 'closed', toWrite: 0, toRead: 0 }");
  one.destroy();
});
