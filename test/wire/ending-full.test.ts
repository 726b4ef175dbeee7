/** A full table must not keep these from ending. */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { socketpair } from 'fdpasser';
import { HelloClock } from '#dist/channel/hello-clock.js';
import { RawPeer, TYPES, type Type } from '../support/channels.js';
import { ended, message, startChild, type Ended } from '../support/child.js';
import { anonymousFile, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

/**
 * Where the system cannot peek, a message that is not a hello and needs more slots than there are is lost, and the loss
 * is reported.
 */
const PEEKS = process.env['FDPASSER_PEEK'] !== 'off';

/** How a channel with `slots` slots ends that gets 100 descriptors and no hello. */
async function sentNoHello(type: Type, descriptors: number): Promise<Ended> {
  const [ours, theirs] = socketpair({ type });
  using peer = new RawPeer(ours);
  const child = startChild('wire/hello-full', { peer: theirs, descriptors });
  theirs.close();
  const end = ended(child);
  await message(child);
  const fd = anonymousFile();
  peer.send(Buffer.from('FDP'), Array<number>(100).fill(fd));
  closeSync(fd);
  child.send('sent');
  return await end;
}

const REFUSED = { code: 0, signal: null, stdout: 'exhausted\nERR_FDPASSER_HELLO\n' };

for (const type of PEEKS ? TYPES : [])
  test(`a message that is not a hello, and found no room at first, does not hold a channel for ever: ${type}`, async () => {
    assert.deepEqual(await sentNoHello(type, 256), { ...REFUSED, stderr: '' });
  });

if (PEEKS)
  test('a peer that sends more descriptors than there can ever be room for is not waited for', async () => {
    const { stderr, ...rest } = await sentNoHello('stream', 64);
    assert.match(stderr, /^\S+ FdPasserWarning: .* can never come: .*\n.*\n$/);
    assert.deepEqual(rest, REFUSED);
  });

test('the time for a hello stops while there is no room, and goes on after that', async () => {
  let rung = 0;
  const clock = new HelloClock(
    30,
    () => {},
    () => rung++,
  );
  clock.standStill();
  await sleep(60);
  assert.equal(rung, 0);
  clock.goOn();
  await until(() => rung > 0);
  const stopped = new HelloClock(
    1,
    () => {},
    () => rung++,
  );
  stopped.stop();
  stopped.goOn();
  await sleep(20);
  assert.equal(rung, 1);
});

for (const wire of ['channel', 'passer', 'stream'])
  test(`a ${wire} that waits for nothing lets the process end though its table is full`, async () => {
    const [ours, theirs] = socketpair();
    using peer = new RawPeer(ours);
    const child = startChild('wire/idle-full', { peer: theirs, descriptors: 64, args: [wire] });
    theirs.close();
    const end = ended(child);
    await message(child);
    const fd = anonymousFile();
    if (wire === 'channel') peer.hello();
    peer.send(Buffer.from('x'), [fd]);
    closeSync(fd);
    child.send('sent');
    assert.deepEqual(await end, { code: 0, signal: null, stdout: 'exhausted\n', stderr: '' });
  });
