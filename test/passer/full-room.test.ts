/**
 * On Linux a stream's peek that fills its room goes on to later messages with none left (unix_stream_read_generic), and
 * shows the descriptors of the first that has any, though none of its bytes.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { FdStream, socketpair, type OwnedFd } from 'fdpasser';
import { channels, RawPeer } from '../support/channels.js';
import { anonymousFile, identity } from '../support/descriptors.js';
import { test } from '../support/test.js';

test('descriptors behind more plain bytes than one receive holds arrive once, and with their own bytes', async () => {
  const [a, b] = socketpair();
  using peer = new RawPeer(b);
  const file = anonymousFile();
  peer.send(Buffer.alloc(100_000));
  peer.send(Buffer.alloc(10), [file]);
  peer.endSending();
  closeSync(file);
  const stream = new FdStream(a);
  let bytes = 0;
  const came: { at: number; count: number }[] = [];
  stream.on('fds', (fds: OwnedFd[]) => {
    came.push({ at: bytes, count: fds.length });
    for (const fd of fds) fd.close();
  });
  stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
  await once(stream, 'close');
  assert.equal(bytes, 100_010);
  assert.deepEqual(came, [{ at: 65_536, count: 1 }]); // with the receive in which their bytes end
});

test('the rest of a message that one receive did not hold does not bring the descriptors of the next', async () => {
  const [a, b] = socketpair();
  using peer = new RawPeer(b);
  const file = anonymousFile();
  peer.send(Buffer.alloc(2 * 65_536), [file, file]);
  peer.send(Buffer.alloc(10), [file]);
  peer.endSending();
  closeSync(file);
  const stream = new FdStream(a);
  const came: number[] = [];
  stream.on('fds', (fds: OwnedFd[]) => {
    came.push(fds.length);
    for (const fd of fds) fd.close();
  });
  stream.resume();
  await once(stream, 'close');
  assert.deepEqual(came, [2, 1]);
});

test('each message of a channel gets its own descriptors, also behind a long one without', async () => {
  const [one, other] = channels<string>({ highWaterMark: 1 << 20, maxMessageBytes: 1 << 20 });
  const files = Array.from({ length: 8 }, anonymousFile);
  const expected = files.map(identity);
  await Promise.all([one.send('first'), other.receive()]);
  const sends = files.map(async (fd, i) => {
    const long = one.send(`long ${i}`.padEnd(150_000, 'x'));
    await Promise.all([long, one.send(`short ${i}`, [fd])]);
  });
  const found: string[] = [];
  for (let i = 0; i < 16; i++) {
    using message = await other.receive();
    found.push(...message.fds.map(({ fd }) => identity(fd)));
    if (message.value.startsWith('long')) assert.equal(message.fds.length, 0);
    else assert.equal(identity(message.fds[0]!.fd), expected[Number(message.value.slice(6))]);
  }
  await Promise.all(sends);
  assert.equal(found.length, 8);
  await Promise.all([one.close(), other.close()]);
});
