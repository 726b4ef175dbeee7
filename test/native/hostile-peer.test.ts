import assert from 'node:assert/strict';
import { amount } from '../support/amount.js';
import { survive } from '../support/hostile.js';
import { partly, test } from '../support/test.js';

const MESSAGES = amount(100_000, 4000);

for (const [type, count] of [
  ['stream', amount(700_000, 25_000)],
  ['seqpacket', amount(300_000, 12_000)],
] as const)
  partly(type === 'stream')(`a channel survives ${count} hostile frames, over a ${type} socket`, async () => {
    const { ends, received, descriptors, connections } = await survive('channel', type, count);
    // The frames reached deep code, and ended in different ways.
    assert.ok(received > count / amount(10, 25) && descriptors > count / amount(10, 25) && connections > count / 1000);
    const gone = (ends['in order'] ?? 0) + (ends['EPIPE'] ?? 0); // of 700,000 about 25
    assert.ok(gone > amount(5, -1) && ends['ERR_FDPASSER_PROTOCOL']! > amount(100, 0));
  });

for (const type of ['stream', 'seqpacket', 'dgram'] as const)
  partly(type === 'seqpacket')(`a passer survives ${MESSAGES} hostile messages, over a ${type} socket`, async () => {
    const { ends, descriptors } = await survive('passer', type, MESSAGES);
    assert.ok(descriptors > MESSAGES / amount(1, 4));
    assert.ok(ends['ERR_FDPASSER_PROTOCOL']! > amount(10, 0));
  });

test(`a stream loses nothing of ${MESSAGES} messages of a hostile peer, and leaks nothing`, async () => {
  const { descriptors } = await survive('stream', 'stream', MESSAGES);
  assert.ok(descriptors > MESSAGES);
});
