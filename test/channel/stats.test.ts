import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { inspect } from 'node:util';
import { FdChannel, socketpair, type ChannelStats, type FdChannelOptions } from 'fdpasser';
import { channels, TYPES } from '../support/channels.js';
import { anonymousFile, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** What waits in a channel, and how many messages it has sent and received. */
function seen(channel: FdChannel<string>): Partial<ChannelStats> {
  const { sent, received, queued, untaken, waiting, asking, requests, unanswered } = channel.stats();
  return { sent, received, queued, untaken, waiting, asking, requests, unanswered };
}

const NOTHING = { sent: 0, received: 0, queued: 0, untaken: 0, waiting: 0, asking: 0, requests: 0, unanswered: 0 };

for (const type of TYPES)
  test(`a channel counts what it has sent and received, and what waits where, over a ${type} socket`, async () => {
    const [one, other] = channels<string>({ type });
    assert.deepEqual(seen(one), NOTHING);
    const queued = one.send('1234', [anonymousFile(), anonymousFile()]);
    assert.deepEqual(seen(one), { ...NOTHING, queued: 1 });
    await queued;
    const asked = one.request('12', [anonymousFile()]);
    await until(() => other.stats().waiting === 2);
    assert.deepEqual(seen(one), { ...NOTHING, sent: 2, untaken: 2, requests: 1 });
    assert.deepEqual(seen(other), { ...NOTHING, received: 2, waiting: 2, unanswered: 1 });
    (await other.receive())[Symbol.dispose]();
    using request = await other.receive();
    assert.deepEqual(seen(other), { ...NOTHING, received: 2, unanswered: 1 });
    await request.reply('ab', request.fds);
    assert.deepEqual(seen(other), { ...NOTHING, sent: 1, received: 2 });
    (await asked)[Symbol.dispose]();
    await until(() => one.stats().untaken === 0);
    const waits = assert.rejects(one.receive(), { code: 'ERR_FDPASSER_CLOSED' });
    assert.deepEqual(seen(one), { ...NOTHING, sent: 2, received: 1, asking: 1 });
    assert.deepEqual([one.stats().descriptorsSent, other.stats().descriptorsReceived], [3, 3]);
    await Promise.all([one.close(), other.close(), waits]);
    assert.equal(one.stats().sent, 2);
  });

test('a channel and a message show what they are when they are inspected', async () => {
  const [one, other] = channels();
  const asking = one.request({ open: 'log' }, [anonymousFile()]);
  const request = await other.receive();
  assert.equal(
    inspect(one, { breakLength: Infinity, compact: 10 }),
    "FdChannel { state: 'open', codec: 'json', queued: 0, untaken: 1, waiting: 0, asking: 0, requests: 1, unanswered: 0 }",
  );
  assert.match(
    inspect(request),
    /^Message {\s+value: { open: 'log' },\s+fds: \[\s*OwnedFd [^]*\],\s+expectsReply: true\s+}$/,
  );
  assert.match(inspect({ request }, { depth: 0 }), /\[Message\]|Message/);
  await request.reply('here');
  request[Symbol.dispose]();
  assert.equal(inspect(await asking), "Message { value: 'here', fds: [] }");
  await Promise.all([one.close(), other.close()]);
  assert.match(inspect(one), /state: 'closed'/);
});

function wrong(name: string): { code: string; message: RegExp } {
  return { code: 'ERR_INVALID_ARG_VALUE', message: new RegExp(`no option "${name}"`) };
}

test('an option of a wrong name is refused by name, and nothing is taken over', async () => {
  const [a, b] = socketpair();
  assert.throws(() => new FdChannel(a, { codecs: 'json' } as FdChannelOptions), wrong('codecs'));
  assert.equal(a.closed, false);
  a.close();
  b.close();
  await assert.rejects(FdChannel.connect('/nowhere', { highwatermark: 1 } as FdChannelOptions), wrong('highwatermark'));
  const [one, other] = channels();
  const fd = anonymousFile();
  await assert.rejects(one.send(1, [fd], { keepopen: true } as {}), wrong('keepopen'));
  await assert.rejects(one.request(1, [fd], { confirm: true } as {}), wrong('confirm'));
  const asking = one.request(1);
  using request = await other.receive();
  await assert.rejects(request.reply(1, [fd], { keep: true } as {}), wrong('keep'));
  closeSync(fd); // still the caller's
  await request.reply(1);
  await asking;
  await Promise.all([one.close(), other.close()]);
});
