import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { FdStream, socketpair } from 'fdpasser';
import type { Sunk } from './children/stream-sink.js';
import { amount } from '../support/amount.js';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, identity, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

const MIB = 1 << 20;
const SEGMENT = 65_536;
const SIZE = amount(1024, 48) * MIB;
const SEGMENTS = SIZE / SEGMENT;

test(`a stream carries ${SIZE / MIB} MiB with a descriptor every 64 KiB to a process that reads in random sizes`, async () => {
  const [mine, theirs] = socketpair();
  const child = startChild('stream/stream-sink', { peer: theirs });
  theirs.close();
  const stream = new FdStream(mine);
  const reported = message<Sunk>(child);
  const end = ended(child);

  const random = randomBytes(MIB);
  const hash = createHash('sha256');
  const ids: string[] = [];
  let bytes = Buffer.alloc(0);
  for (let i = 0; i < SEGMENTS; i++) {
    const start = (i * SEGMENT) % MIB;
    if (start === 0) bytes = Buffer.from(random);
    const segment = bytes.subarray(start, start + SEGMENT);
    segment.writeUInt32LE(i); // unlike every other
    hash.update(segment);
    const file = anonymousFile();
    ids.push(identity(file));
    const split = randomInt(1, SEGMENT); // descriptors begin anywhere in what the peer receives at once
    stream.writeWithFds(segment.subarray(0, split), [file]);
    if (!stream.write(segment.subarray(split))) await once(stream, 'drain');
  }
  stream.end();

  const sunk = await reported;
  const { code, signal, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  assert.equal(sunk.size, SEGMENTS * SEGMENT);
  assert.equal(sunk.sha256, hash.digest('hex'));
  assert.deepEqual(sunk.ids, ids);
  assert.ok(sunk.at.every((at, i) => at <= i * SEGMENT));
});

test('several streams that wait for room with joined writes send each its own bytes', async () => {
  const streams = Array.from({ length: 4 }, () => socketpair().map((end) => new FdStream(end)));
  const written = streams.map(() => Array.from({ length: 400 }, () => randomBytes(randomInt(1, 4000))));
  const writing = streams.map(async ([writer], k) => {
    for (const chunk of written[k]!) if (!writer!.write(chunk)) await once(writer!, 'drain');
    writer!.end();
  });
  await until(() => streams.every(([writer]) => writer!.stats().sendWaits > 0));
  for (const [k, [, reader]] of streams.entries()) {
    const read = (await reader!.toArray()) as Buffer[];
    assert.ok(Buffer.concat(read).equals(Buffer.concat(written[k]!)));
  }
  await Promise.all(writing);
});
