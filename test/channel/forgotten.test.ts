import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { inspect } from 'node:util';
import { channelAndPeer, channels, TYPES, type Type } from '../support/channels.js';
import { anonymousFile, collectUntil, openDescriptors, until } from '../support/descriptors.js';
import { encodeMessage } from '../support/frames.js';
import { test } from '../support/test.js';

process.on('warning', () => {}); // Node writes no warning that somebody listens for

for (const type of TYPES) {
  test(`descriptors of a message that was taken and forgotten are closed, over a ${type} socket`, async () => {
    const [one, other] = channels<string>({ type });
    await one.send('first', [anonymousFile()]);
    await one.send('second', [anonymousFile()]);
    await until(() => other.stats().waiting === 2);
    const before = openDescriptors().size;
    await other.receive();
    await other.receive();
    await collectUntil(() => openDescriptors().size === before - 2);
    one.destroy();
    other.destroy();
  });

  test(`so are those of a message that nobody took from a broken channel over a ${type} socket`, async () => {
    const before = openDescriptors().size;
    await forgetChannel(type);
    await collectUntil(() => openDescriptors().size === before);
  });
}

/** Makes a channel that breaks after a message with descriptors has come, and forgets it. */
async function forgetChannel(type: Type): Promise<void> {
  const [channel, peer] = channelAndPeer({ type });
  peer.hello();
  const fd = anonymousFile();
  peer.send(encodeMessage(Buffer.from('1'), 1, false)[0]!.bytes, [fd]);
  peer.send(Buffer.alloc(8, 255));
  closeSync(fd);
  await until(() => inspect(channel).includes("state: 'ending'"));
  assert.equal(channel.stats().waiting, 1);
  peer.close();
}
