import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { FdChannel, OwnedFd, socketpair, type Message } from 'fdpasser';
import { encodeDeclined, REPLY, REQUEST } from '#dist/channel/frames.js';
import { amount } from '../support/amount.js';
import { channelAndPeer, channels, TYPES, type RawPeer } from '../support/channels.js';
import { ended, message, startChild } from '../support/child.js';
import {
  anonymousFile,
  closeAll,
  collectUntil,
  identity,
  isOpen,
  leftOpen,
  openDescriptors,
  until,
} from '../support/descriptors.js';
import { block } from '../support/block.js';
import { encodeMessage } from '../support/frames.js';
import { turns } from '../support/passing.js';
import { partly, test, testInFull } from '../support/test.js';

const CLOSED = { code: 'ERR_FDPASSER_CLOSED' };
const NO_REPLY = { code: 'ERR_FDPASSER_NO_REPLY' };
const NOT_ASKED = { code: 'ERR_FDPASSER_NOT_ASKED' };
const TIMEOUT = { code: 'ERR_FDPASSER_TIMEOUT' };

function identities({ fds }: Message): string[] {
  return fds.map(({ fd }) => identity(fd));
}

/** A request or a reply, in one frame. */
function numbered(flag: number, number: number, value: unknown, fds = 0): Buffer {
  const body = Buffer.concat([Buffer.alloc(4), Buffer.from(JSON.stringify(value))]);
  body.writeUInt32LE(number);
  const bytes = encodeMessage(body, fds, false)[0]!.bytes;
  bytes[1] = flag;
  return bytes;
}

async function comesTo(peer: RawPeer, text: string): Promise<void> {
  await until(() => peer.receive().includes(text));
}

/** Replies to requests with what they brought. Of each group of requests the last is answered first. */
async function echo(channel: FdChannel<number>, requests: number, together: number): Promise<void> {
  const held: Message<number, number>[] = [];
  for (let seen = 0; seen < requests;) {
    const message = await channel.receive();
    if (!message.expectsReply) {
      message[Symbol.dispose]();
      continue;
    }
    held.push(message);
    if (++seen < requests && held.length < together) continue;
    for (const request of held.splice(0).toReversed()) void request.reply(request.value, request.fds);
  }
}

for (const type of TYPES) {
  partly(type === 'stream')(
    `a request brings its reply, with descriptors both ways, over a ${type} socket`,
    async () => {
      const [one, other] = channels<string>({ type });
      const fds = [anonymousFile(), anonymousFile()] as const;
      const [asked, replied] = fds.map(identity);
      const asking = one.request('open', [fds[0]]);
      using request = await other.receive();
      assert.deepEqual([request.value, request.expectsReply, identities(request)], ['open', true, [asked]]);
      assert.ok(isOpen(fds[0])); // until the reply is here
      await request.reply('here', [fds[1]]);
      assert.deepEqual([request.expectsReply, isOpen(fds[1])], [false, false]);
      using reply = await asking;
      assert.deepEqual([reply.value, reply.expectsReply, identities(reply)], ['here', false, [replied]]);
      assert.equal(isOpen(fds[0]), false);
      await Promise.all([one.close(), other.close()]);
    },
  );

  partly(type === 'stream')(
    `many requests in each direction, among messages and confirmations, get their own replies, over a ${type} socket`,
    async () => {
      const COUNT = amount(1000, 200);
      const channelsOf = channels<number>({ type });
      const files = Array.from({ length: 7 }, anonymousFile);
      const of = files.map(identity);
      const ask = async (channel: FdChannel<number>, i: number): Promise<void> => {
        const fds = Array.from({ length: i % 4 }, (_, k) => (i + k) % 7);
        if (i % 5 === 0) await channel.send(-1, [files[0]!], { keepOpen: true, confirm: i % 10 === 0 });
        using reply = await channel.request(
          i,
          fds.map((file) => files[file]!),
          { keepOpen: true },
        );
        assert.equal(reply.value, i);
        assert.deepEqual(
          identities(reply),
          fds.map((file) => of[file]),
        );
      };
      await Promise.all(
        channelsOf.flatMap((channel) => [
          echo(channel, COUNT, 37),
          ...Array.from({ length: COUNT }, (_, i) => ask(channel, i)),
        ]),
      );
      await Promise.all(channelsOf.map((channel) => channel.close()));
      closeAll(files);
    },
  );

  partly(type === 'stream')(
    `a reply comes although nobody takes the messages before it, over a ${type} socket`,
    async () => {
      const [one, other] = channels<string>({ type, highWaterMark: 1000, maxFds: 2 });
      const asking = one.request('what?');
      using request = await other.receive();
      let resolved = 0;
      for (let i = 0; i < 50; i++)
        void other.send('x'.repeat(90)).then(
          () => resolved++,
          () => 0,
        );
      await request.reply('that', [anonymousFile(), anonymousFile()]);
      using reply = await asking;
      assert.equal(reply.value, 'that');
      assert.equal(resolved, 10); // an ordinary message would wait as the others do
      const answers = anonymousFile();
      const further = one.request('and?');
      using second = await other.receive();
      await second.reply('x'.repeat(60_000), [answers]); // larger than the window, too
      using long = await further;
      assert.equal(long.value.length, 60_000);
      one.destroy();
      await other.close();
    },
  );

  partly(type === 'stream')(
    `a reply does not overtake a message before it that can be sent, over a ${type} socket`,
    async () => {
      const [channel, peer] = channelAndPeer<string>({ type });
      using _ = peer;
      peer.hello();
      peer.send(numbered(REQUEST, 5, 'what?'));
      const request = await channel.receive();
      await Promise.all([channel.send('first'), request.reply('second'), channel.send('third')]);
      const bytes = peer.receive().toString('latin1');
      const places = ['first', 'second', 'third'].map((word) => bytes.indexOf(word));
      assert.ok(places[0]! > 0 && places[0]! < places[1]! && places[1]! < places[2]!, places.join());
      await channel.close();
    },
  );

  partly(type === 'stream')(
    `a timeout ends the wait for a reply, and descriptors of a later reply are closed, over a ${type} socket`,
    async () => {
      const [one, other] = channels<string>({ type });
      const fd = anonymousFile();
      const before = identity(fd);
      (await ask(one, other))[Symbol.dispose](); // both have got the hello, so what follows departs at once
      const refused = assert.rejects(one.request('slow', [fd], { timeout: 20 }), {
        ...TIMEOUT,
        message: /no reply within 20 ms/,
      });
      const request = await other.receive();
      await refused;
      assert.equal(identity(fd), before); // the caller's again
      closeSync(fd);
      const open = openDescriptors();
      await request.reply('late', Array.from({ length: 300 }, anonymousFile));
      request[Symbol.dispose]();
      using next = await ask(one, other);
      assert.equal(next.value, 'answer');
      await until(() => leftOpen(open).length === 0);
      await Promise.all([one.close(), other.close()]);
    },
  );

  partly(type === 'stream')(
    `a timeout ends the wait for a peer that reads nothing, and that peer still gets the rest, over a ${type} socket`,
    async () => {
      const [channel, peer] = channelAndPeer<string>({ type });
      using _ = peer;
      const fd = anonymousFile();
      const file = identity(fd);
      const fds = Array<number>(1024).fill(fd);
      peer.hello({ window: 1 << 24 });
      await channel.send('first'); // the hello has come, so what follows departs at once
      const own = anonymousFile();
      const asking = [
        // More than a socket holds, so that it is half sent.
        channel.request('x'.repeat(4_000_000), fds, { timeout: 50, keepOpen: true }),
        channel.request('y'.repeat(100_000), [own], { timeout: 50 }),
      ];
      await Promise.all(asking.map((asked) => assert.rejects(asked, TIMEOUT)));
      assert.equal(identity(fd), file);
      assert.ok(isOpen(own));
      closeAll([fd, own]); // the caller's again, although they are being sent
      const others = [anonymousFile(), anonymousFile()]; // which have their numbers
      const sending = channel.send('behind');
      await comesTo(peer, '"behind"');
      await sending;
      assert.deepEqual(peer.fds.map(identity), Array<string>(1024).fill(file));
      peer.send(numbered(REPLY, 0, 'late', 1), [peer.fds[0]!]);
      closeAll(others);
      await channel.close();
    },
  );

  partly(type === 'stream')(
    `the asker keeps the descriptors of its requests when the peer is killed, over a ${type} socket`,
    async () => {
      const [a, b] = socketpair({ type });
      const channel = new FdChannel<string>(a);
      const child = startChild('channel/channel-idle', { peer: b });
      b.close();
      const whenEnded = ended(child);
      const fds = [anonymousFile(), anonymousFile()] as const;
      const before = fds.map(identity);
      const refused = fds.map((fd) => assert.rejects(channel.request('answer me', [fd])));
      assert.equal(await message(child), 'took one');
      child.kill('SIGKILL');
      await Promise.all(refused);
      assert.deepEqual(fds.map(identity), before);
      closeAll(fds);
      await whenEnded;
      await channel.close();
    },
  );

  partly(type === 'stream')(
    `close() waits for replies, and the other end can reply after it, over a ${type} socket`,
    async () => {
      const [one, other] = channels<string>({ type });
      const order: string[] = [];
      const asking = [1, 2].map((i) => one.request(`${i}`, [anonymousFile()]).then(({ value }) => order.push(value)));
      const taken = await other.receive();
      const whenClosed = one.close().then(() => order.push('closed'));
      using untaken = await other.receive();
      for (let i = 0; i < 5; i++) await turn();
      await untaken.reply('second');
      await taken.reply('first');
      taken[Symbol.dispose]();
      await Promise.all([...asking, whenClosed]);
      assert.deepEqual(order, ['second', 'first', 'closed']);
      await assert.rejects(other.receive(), CLOSED);
      await other.close();
    },
  );

  partly(type === 'stream')(
    `two channels that close while they ask each other do not wait for each other, over a ${type} socket`,
    async () => {
      const [one, other] = channels<string>({ type });
      const fds = [anonymousFile(), anonymousFile()] as const;
      const refused = [
        assert.rejects(one.request('a', [fds[0]]), CLOSED),
        assert.rejects(other.request('b', [fds[1]]), CLOSED),
      ];
      using asked = await other.receive();
      await Promise.all([one.close(), other.close()]);
      await Promise.all(refused);
      await assert.rejects(asked.reply('too late'), CLOSED);
      closeAll(fds);
    },
  );
}

/** One request, and its answer. */
async function ask(one: FdChannel<string>, other: FdChannel<string>): Promise<Message<string, string>> {
  const asking = one.request('next');
  using request = await other.receive();
  await request.reply('answer');
  return asking;
}

test('the asker of a forgotten request gets an error while another message waits behind it', async () => {
  const [one, other] = channels<string>();
  let forgotten = false;
  const refused = assert.rejects(one.request('forgotten'), NO_REPLY).then(() => (forgotten = true));
  await one.send('waits');
  await until(() => other.stats().waiting === 2);
  await other.receive();
  await collectUntil(() => forgotten);
  await refused;
  assert.equal((await other.receive()).value, 'waits');
  await Promise.all([one.close(), other.close()]);
});

test('the asker of a request that is disposed of, forgotten or unreadable gets an error that there is no reply', async () => {
  const [one, other] = channels<string>();
  const fd = anonymousFile();
  const before = identity(fd);
  const asking = one.request('ignored', [fd]);
  (await other.receive())[Symbol.dispose]();
  await assert.rejects(asking, { ...NO_REPLY, message: /dropped the request without a reply/ });
  assert.equal(identity(fd), before);
  closeSync(fd);

  let forgotten = false;
  const refused = assert.rejects(one.request('forgotten'), NO_REPLY).then(() => (forgotten = true));
  await other.receive();
  await collectUntil(() => forgotten);
  await refused;
  await Promise.all([one.close(), other.close()]);

  const [channel, peer] = channelAndPeer();
  using _ = peer;
  channel.on('unreadable', () => {});
  peer.hello();
  const bytes = numbered(REQUEST, 258, '');
  bytes[12] = 0x7b; // '{' in place of a quotation mark
  peer.send(bytes);
  await until(() => peer.receive().includes(encodeDeclined(258)));
  await channel.close();
});

test('a reply that cannot be read rejects the request, and its descriptors are closed', async () => {
  const [channel, peer] = channelAndPeer();
  using _ = peer;
  peer.hello();
  const asking = channel.request('what?');
  await comesTo(peer, 'what?');
  const fd = anonymousFile();
  const bytes = numbered(REPLY, 0, '', 1);
  bytes[12] = 0x7b;
  peer.send(bytes, [fd]);
  closeSync(fd);
  await assert.rejects(asking, { code: 'ERR_FDPASSER_UNREADABLE' });
  await channel.close();
});

test('a request can be answered once, and an ordinary message not at all', async () => {
  const [one, other] = channels();
  await one.send('told');
  await assert.rejects((await other.receive()).reply('so?'), { ...NOT_ASKED, message: /asks for none/ });
  const asking = one.request('asked');
  const request = await other.receive();
  const replying = request.reply('first');
  await assert.rejects(request.reply('second'), { ...NOT_ASKED, message: /has its reply/ });
  await replying;
  await assert.rejects(request.reply('third'), { ...NOT_ASKED, message: /has its reply/ });
  assert.equal((await asking).value, 'first');
  const dropped = assert.rejects(one.request('dropped'), NO_REPLY);
  const last = await other.receive();
  last[Symbol.dispose]();
  await assert.rejects(last.reply('late'), { ...NOT_ASKED, message: /disposed of/ });
  await dropped;
  await Promise.all([one.close(), other.close()]);
});

test('a reply that is refused leaves the request open for another', async () => {
  const [one, other] = channels({ maxMessageBytes: 100 });
  const asking = one.request('asked');
  const request = await other.receive();
  const fd = anonymousFile();
  await assert.rejects(request.reply(1n, [fd]), TypeError);
  await assert.rejects(request.reply('x'.repeat(200), [fd]), { code: 'ERR_FDPASSER_TOO_LARGE' });
  await assert.rejects(request.reply('x', [fd, 1_000_000]), { code: 'EBADF' });
  await assert.rejects(request.reply('x', 'no array' as unknown as []), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.ok(request.expectsReply && isOpen(fd)); // still the caller's
  await request.reply('error', [fd]);
  using reply = await asking;
  assert.equal(reply.value, 'error');

  const refused = assert.rejects(one.request('again'), NO_REPLY);
  const again = await other.receive();
  const late = assert.rejects(again.reply('x'.repeat(200)), { code: 'ERR_FDPASSER_TOO_LARGE' });
  again[Symbol.dispose](); // while the reply is under way; if that fails, no other reply can be given
  await Promise.all([late, refused]);
  await Promise.all([one.close(), other.close()]);
});

test('disposing of a request while its reply is under way does not take the reply back', async () => {
  const [one, other] = channels<string>();
  const asking = one.request('asked', [anonymousFile()]);
  const request = await other.receive();
  const replying = request.reply('kept', request.fds);
  request[Symbol.dispose]();
  await replying;
  using reply = await asking;
  assert.deepEqual([reply.value, reply.fds.length], ['kept', 1]);
  await Promise.all([one.close(), other.close()]);
});

test('a request to a peer without requests is refused, before its hello and after, and messages go on', async () => {
  const [channel, peer] = channelAndPeer<string>();
  using _ = peer;
  const fd = anonymousFile();
  const early = channel.request('early', [fd]);
  peer.hello({ capabilities: 0 });
  const NO_REQUESTS = { code: 'ERR_FDPASSER_NO_REQUESTS', message: /takes no requests: .*older fdpasser/ };
  await assert.rejects(early, NO_REQUESTS);
  await assert.rejects(channel.request('late', [fd]), NO_REQUESTS);
  closeSync(fd);
  await channel.send('message');
  await comesTo(peer, '"message"');
  assert.ok(!peer.receive().includes('early'));
  await channel.close();
});

test('a signal takes back a request that has not departed, and ends the wait for one that has', async () => {
  const [one, other] = channels<string>();
  const fd = anonymousFile();
  const before = new AbortController();
  const unsent = one.request('unsent', [fd], { signal: before.signal });
  before.abort();
  await assert.rejects(unsent, { name: 'AbortError' });
  assert.ok(isOpen(fd));
  const after = new AbortController();
  const asking = one.request('sent', [fd], { signal: after.signal });
  const request = await other.receive();
  assert.equal(request.value, 'sent');
  after.abort();
  await assert.rejects(asking, { name: 'AbortError' });
  assert.ok(isOpen(fd));
  closeSync(fd);
  const whenClosed = one.close(); // it does not wait for requests that nobody waits for
  await whenClosed;
  request[Symbol.dispose]();
  await other.close();
});

test('requests to a channel that closes stay unanswered, and their askers get an error that it closed', async () => {
  const [one, other] = channels<string>();
  const fds = [anonymousFile(), anonymousFile()] as const;
  const refused = fds.map((fd) => assert.rejects(one.request('asked', [fd]), CLOSED));
  using held = await other.receive();
  await other.close();
  await Promise.all(refused);
  assert.deepEqual(fds.map(isOpen), [true, true]);
  closeAll(fds);
  await assert.rejects(held.reply('late'), CLOSED);
  await one.close();
});

test('the end of a peer is noticed while a request of it is still being worked on', async () => {
  const [one, other] = channels<string>();
  const refused = assert.rejects(one.request('long work'), CLOSED);
  using request = await other.receive();
  one.destroy();
  await refused;
  for await (const _ of other) assert.fail('nothing more comes');
  await assert.rejects(request.reply('nobody is there'), CLOSED);
  await other.close();
});

test('a second answer to a request breaks the channel', async () => {
  for (const second of [numbered(REPLY, 0, 'again'), encodeDeclined(0)]) {
    const errors: (Error | undefined)[] = [];
    const [channel, peer] = channelAndPeer({ onError: (error) => errors.push(error) });
    using _ = peer;
    peer.hello();
    const asking = channel.request('what?');
    await comesTo(peer, 'what?');
    peer.send(Buffer.concat([numbered(REPLY, 0, 'that'), second]));
    assert.equal((await asking).value, 'that');
    await until(() => errors.length > 0);
    assert.match(errors[0]?.message ?? '', /answered request number 0/);
    await channel.close();
  }
});

test('bytes that were read from a socket travel with requests and replies', async () => {
  const [one, other] = channels<string>();
  const [near, far] = socketpair();
  const socket = near.toSocket();
  socket.unshift(Buffer.from('read already'));
  const asking = one.request('take this', [socket]);
  using request = await other.receive();
  assert.equal(String(request.fds[0]!.unread), 'read already');
  await request.reply('take it back', request.fds);
  using reply = await asking;
  assert.equal(String(reply.fds[0]!.unread), 'read already');
  far.close();
  await Promise.all([one.close(), other.close()]);
});

testInFull(
  'a channel stops reading a peer that asks without reading when too much waits for it, until it reads',
  async () => {
    const [channel, peer] = channelAndPeer({ highWaterMark: 1 << 30 });
    using _ = peer;
    peer.hello();
    const serving = (async () => {
      for await (using request of channel) void request;
    })();
    const LIMIT = 1_000_000; // a longer time could not be limited
    let asked = 0;
    let rest = Buffer.alloc(0);
    for (let refused = 0; refused < 100 && asked < LIMIT; await turn()) {
      if (rest.length === 0) {
        const first = asked;
        rest = Buffer.concat(Array.from({ length: 500 }, (_, i) => numbered(REQUEST, first + i, 0)));
        asked += 500;
      }
      const sent = peer.trySend(rest);
      refused = sent > 0 ? 0 : refused + 1;
      rest = rest.subarray(Math.max(0, sent));
    }
    assert.ok(asked < LIMIT, `${asked} were taken in`);
    const last = encodeDeclined(asked - 1);
    await until(() => {
      rest = rest.subarray(Math.max(0, rest.length > 0 ? peer.trySend(rest) : 0));
      return peer.receive().includes(last);
    });
    await channel.close();
    await serving;
  },
);

test('a reply that came in time is received, although the process looks for it only after the timeout', async () => {
  const [channel, peer] = channelAndPeer<string>();
  using _ = peer;
  peer.hello();
  await channel.send('first'); // the hello is heard: what follows departs at once
  const timeout = 500;
  const [early, missing] = ['early', 'missing'].map((value) => channel.request(value, [], { timeout }));
  await turns();
  assert.ok(peer.receive().includes('missing'));
  const fd = anonymousFile();
  peer.send(numbered(REPLY, 0, 'in time', 1), [fd]);
  const refused = assert.rejects(missing!, TIMEOUT);
  block(timeout + 10);
  using reply = await early!;
  assert.deepEqual([reply.value, identities(reply)], ['in time', [identity(fd)]]);
  await refused;
  closeSync(fd);
  channel.destroy();
});

test('a timeout out of range is refused, and nothing is taken over', async () => {
  const [one, other] = channels<string>();
  using fd = new OwnedFd(anonymousFile());
  for (const timeout of [0, -1, 1.5, NaN, 2 ** 31])
    await assert.rejects(one.request('x', [fd], { timeout }), { code: 'ERR_OUT_OF_RANGE' });
  await assert.rejects(one.request('x', [fd], { timeout: '1' as unknown as number }), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.equal(fd.closed, false);
  await Promise.all([one.close(), other.close()]);
});

test('a process lives on for a reply, and ends when the wait for it is over', async () => {
  const [a, b] = socketpair();
  const channel = new FdChannel<string>(a);
  const child = startChild('channel/channel-asks', { peer: b });
  b.close();
  using request = await channel.receive();
  for (let i = 0; i < 20; i++) await turn();
  await request.reply('answer');
  using unanswered = await channel.receive();
  const { code, signal, stdout, stderr } = await ended(child);
  assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'answer\n', stderr: '' });
  assert.equal(unanswered.value, 'unanswered');
  await channel.close();
});

test('a request that times out is not sent when its shipment is refused, even where its descriptors cannot be copied', async () => {
  const child = startChild('channel/overdue', { descriptors: 64 });
  const end = ended(child);
  const report = await message(child);
  assert.deepEqual(await end, { code: 0, signal: null, stdout: '', stderr: '' });
  // Without `early`, the table was not full, or the request did not stand ready.
  assert.deepEqual(report, { beside: 'EBADF', outcome: 'ERR_FDPASSER_TIMEOUT', asked: true, came: false });
});
