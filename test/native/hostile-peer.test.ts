import assert from 'node:assert/strict';
import { survive } from '../support/hostile.js';
import { test } from '../support/test.js';

for (const [type, count] of [
  ['stream', 700_000],
  ['seqpacket', 300_000],
] as const)
  test(`a channel survives ${count} hostile frames, over a ${type} socket`, async () => {
    const { ends, received, descriptors, connections } = await survive('channel', type, count);
    // They went deep, and not all in the same way.
    assert.ok(received > count / 10 && descriptors > count / 10 && connections > count / 1000);
    assert.ok(ends['in order']! > 10 && ends['ERR_FDPASSER_PROTOCOL']! > 100);
  });

for (const type of ['stream', 'seqpacket', 'dgram'] as const)
  test(`a passer survives a hundred thousand hostile messages, over a ${type} socket`, async () => {
    const { ends, descriptors } = await survive('passer', type, 100_000);
    assert.ok(descriptors > 100_000);
    assert.ok(ends['ERR_FDPASSER_PROTOCOL']! > 10);
  });

test('a stream loses nothing of a hundred thousand messages, and leaks nothing', async () => {
  const { descriptors } = await survive('stream', 'stream', 100_000);
  assert.ok(descriptors > 100_000);
});
