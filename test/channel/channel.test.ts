import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { FdChannel, listen, OwnedFd, socketpair, type Codec, type Message } from 'fdpasser';
import { amount } from '../support/amount.js';
import { channels, TYPES, type Type } from '../support/channels.js';
import { ended, startChild } from '../support/child.js';
import { anonymousFile, anonymousFileAbove, identity, inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** Some different files, open until the end. */
class Files {
  readonly fds: number[];
  readonly identities: string[];

  constructor(count: number) {
    this.fds = Array.from({ length: count }, anonymousFile);
    this.identities = this.fds.map(identity);
  }

  [Symbol.dispose](): void {
    for (const fd of this.fds) closeSync(fd);
  }
}

function identities(message: Message): string[] {
  return message.fds.map(({ fd }) => identity(fd));
}

/** The descriptors of message `i`, 0 to 5 of them, each the index of one of 16 files. */
function filesOf(i: number): number[] {
  return Array.from({ length: (i * 7) % 6 }, (_, k) => (i * 5 + k * 3) % 16);
}

/** Sends a value through a channel of this codec and back; returns what comes. */
async function throughChannels(value: unknown, codec: Codec, type: Type): Promise<unknown> {
  const [one, other] = channels({ codec, type });
  const [, message] = await Promise.all([one.send(value), other.receive()]);
  await one.close();
  await other.close();
  return message.value;
}

const COUNT = amount(5000, 1000);

for (const type of TYPES) {
  test(`values arrive unchanged, over a ${type} socket`, async () => {
    for (const value of [undefined, null, 0, '', 'é😀\0', [], { a: [1, { b: null }] }])
      assert.deepEqual(await throughChannels(value, 'json', type), value);
    for (const length of [0, 1, 65_535, 65_536, 65_537, 1_000_000]) {
      const bytes = Buffer.alloc(length, 'abcdefg');
      assert.deepEqual(await throughChannels(bytes, 'bytes', type), bytes);
      assert.deepEqual(await throughChannels(new Uint8Array(bytes), 'bytes', type), bytes);
    }
    const structured = { map: new Map([[1, new Set(['a'])]]), date: new Date(0), big: 2n ** 70n, none: undefined };
    assert.deepEqual(await throughChannels(structured, 'structured', type), structured);
  });

  test(`${COUNT} messages with 0 to 5 descriptors each arrive in order, both ways at once, over a ${type} socket`, async () => {
    using files = new Files(16);
    const [one, other] = channels<number>({ type });
    const exchange = async (from: FdChannel<number>, to: FdChannel<number>) => {
      const sends: Promise<void>[] = [];
      for (let i = 0; i < COUNT; i++)
        sends.push(
          from.send(
            i,
            filesOf(i).map((file) => files.fds[file]!),
            { keepOpen: true, confirm: i % 10 === 0 },
          ),
        );
      for (let i = 0; i < COUNT; i++) {
        using message = await to.receive();
        assert.equal(message.value, i);
        assert.deepEqual(
          identities(message),
          filesOf(i).map((file) => files.identities[file]!),
        );
      }
      await Promise.all(sends);
    };
    await Promise.all([exchange(one, other), exchange(other, one)]);
    await Promise.all([one.close(), other.close()]);
  });

  test(`a message can have more descriptors than one sendmsg takes, and more than it has bytes, over a ${type} socket`, async () => {
    using files = new Files(7);
    const [one, other] = channels({ type });
    for (const count of [1, 252, 253, 254, 600, 1024]) {
      const fds = Array.from({ length: count }, (_, i) => files.fds[i % 7]!);
      const [, message] = await Promise.all([one.send(undefined, fds, { keepOpen: true }), other.receive()]);
      assert.equal(message.value, undefined);
      assert.deepEqual(
        identities(message),
        fds.map((_, i) => files.identities[i % 7]),
      );
      message[Symbol.dispose]();
    }
    await Promise.all([one.close(), other.close()]);
  });

  test(`a bad descriptor makes only its own message fail, over a ${type} socket`, async () => {
    using files = new Files(1);
    const [one, other] = channels<number>({ type });
    await Promise.all([one.send(-1), other.receive()]); // both have got the hello, so all that follows is sent at once
    const bad = anonymousFileAbove(10); // descriptors that the other end receives before must not get its number
    const sends = [0, 1, 2, 3, 4].map((i) =>
      one.send(i, i === 2 ? [files.fds[0]!, bad] : [files.fds[0]!], { keepOpen: true }),
    );
    closeSync(bad);
    await assert.rejects(sends[2]!, { code: 'EBADF', message: /closed before it was sent/ });
    for (const i of [0, 1, 3, 4]) {
      await sends[i];
      using message = await other.receive();
      assert.equal(message.value, i);
      assert.deepEqual(identities(message), files.identities);
    }
    await Promise.all([one.close(), other.close()]);
  });

  test(`a bad descriptor makes only its own message fail, however far back it stands, over a ${type} socket`, async () => {
    using files = new Files(1);
    const [one, other] = channels<string>({ type });
    await Promise.all([one.send('first'), other.receive()]);
    const bad = anonymousFileAbove(2000);
    const fds = Array<number>(600).fill(files.fds[0]!);
    const sends = [fds, [...fds, bad], [bad], fds].map((fds, i) => one.send(`${i}`, fds, { keepOpen: true }));
    closeSync(bad);
    const refused = [1, 2].map((i) => assert.rejects(sends[i]!, { code: 'EBADF' }));
    for (const i of [0, 3]) {
      using message = await other.receive();
      assert.equal(message.value, `${i}`);
      assert.equal(message.fds.length, 600);
      await sends[i];
    }
    await Promise.all(refused);
    await Promise.all([one.close(), other.close()]);
  });

  test(`a child that inherits a channel sends back what it gets, over a ${type} socket`, async () => {
    const [a, b] = socketpair({ type });
    const channel = new FdChannel<number>(a);
    const child = startChild('channel/channel-echo', { peer: b });
    const whenEnded = ended(child);
    b.close();
    for (let i = 0; i < 100; i++) {
      const fds = Array.from({ length: i % 4 }, anonymousFile);
      const sent = fds.map(identity);
      await channel.send(i, fds, { confirm: true });
      using message = await channel.receive();
      assert.equal(message.value, i);
      assert.deepEqual(identities(message), sent);
    }
    await channel.close();
    const { code, signal, stderr } = await whenEnded;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  });

  test(`channels connect by path, over a ${type} socket`, async () => {
    await inFolder(async (folder) => {
      using server = listen(`${folder}/socket`, { type });
      const [client, accepted] = await Promise.all([
        FdChannel.connect<string>(server.path, { type, codec: 'structured' }),
        server.accept(),
      ]);
      const channel = new FdChannel<string>(accepted, { codec: 'structured' });
      const [, message] = await Promise.all([client.send('hello'), channel.receive()]);
      assert.equal(message.value, 'hello');
      await Promise.all([client.close(), channel.close()]);
    });
  });

  test(`confirm resolves when the application took the message, and not before, over a ${type} socket`, async () => {
    const [one, other] = channels<number>({ type });
    const fd = anonymousFile();
    const sent = identity(fd);
    let confirmed = false;
    const send = one.send(1, [fd], { confirm: true }).then(() => (confirmed = true));
    await one.send(2);
    await other.send(3);
    await one.receive(); // the other has long received the first by now
    assert.equal(confirmed, false);
    assert.equal(identity(fd), sent); // and this side still has it
    {
      using message = await other.receive();
      assert.deepEqual(identities(message), [sent]);
    }
    await send;
    assert.throws(() => identity(fd), { code: 'EBADF' });
    await Promise.all([one.close(), other.close()]);
  });
}

test("a value that the codec cannot encode is refused, and its descriptors stay the sender's", async () => {
  using files = new Files(1);
  const circular: unknown[] = [];
  circular.push(circular);
  for (const [codec, value] of [
    ['json', 1n],
    ['json', circular],
    ['json', () => 0],
    ['json', Symbol('s')],
    ['bytes', 'text'],
    ['bytes', undefined],
    ['structured', () => 0],
  ] as const) {
    const [one, other] = channels({ codec });
    await assert.rejects(one.send(value, files.fds), (error) => error instanceof Error);
    assert.equal(identity(files.fds[0]!), files.identities[0]);
    await Promise.all([one.close(), other.close()]);
  }
});

test('bytes within a structured value are not shared', async () => {
  const [one, other] = channels<Uint8Array | Uint32Array>({ codec: 'structured' });
  const messages: Message<Uint8Array | Uint32Array>[] = [];
  for (let i = 0; i < 10; i++) {
    await one.send((i % 2 === 0 ? new Uint8Array(100) : new Uint32Array(100)).fill(i));
    messages.push(await other.receive());
  }
  for (const [i, { value }] of messages.entries()) assert.ok(value.length === 100 && value.every((n) => n === i));
  await Promise.all([one.close(), other.close()]);
});

test("sent descriptors are closed here unless keepOpen, and a message's `using` closes those received", async () => {
  const [one, other] = channels();
  using kept = new OwnedFd(anonymousFile());
  using sent = new OwnedFd(anonymousFile());
  const number = anonymousFile();
  await one.send(1, [kept], { keepOpen: true });
  await one.send(2, [sent, number]);
  assert.equal(kept.closed, false);
  assert.equal(sent.closed, true);
  assert.throws(() => identity(number), { code: 'EBADF' });
  let fds: OwnedFd[];
  {
    using message = await other.receive();
    fds = message.fds;
    assert.equal(fds[0]!.closed, false);
  }
  assert.equal(fds[0]!.closed, true);
  await Promise.all([one.close(), other.close()]); // nobody took the second message
});

test('an aborted send gives its descriptors back, and the next messages are sent', async () => {
  using files = new Files(1);
  const [one, other] = channels<string>();
  const abort = new AbortController();
  const reason = new Error('changed my mind');
  const send = one.send('a', files.fds, { signal: abort.signal });
  const next = one.send('b');
  abort.abort(reason);
  await assert.rejects(send, { name: 'AbortError', code: 'ABORT_ERR', cause: reason });
  await assert.rejects(one.send('c', files.fds, { signal: abort.signal }), { name: 'AbortError' });
  assert.equal(identity(files.fds[0]!), files.identities[0]);
  await next;
  assert.equal((await other.receive()).value, 'b');
  await Promise.all([one.close(), other.close()]);
});

test('an aborted receive loses no message', async () => {
  const [one, other] = channels<string>();
  const abort = new AbortController();
  const receive = other.receive({ signal: abort.signal });
  const next = other.receive();
  abort.abort();
  await assert.rejects(receive, { name: 'AbortError' });
  await one.send('a');
  assert.equal((await next).value, 'a');
  await Promise.all([one.close(), other.close()]);
});

test('iteration ends with the peer, and leaving it loses no message', async () => {
  const [one, other] = channels<number>();
  for (let i = 0; i < 10; i++) await one.send(i);
  const closing = one.close();
  const seen: number[] = [];
  for await (const { value } of other) {
    seen.push(value);
    if (value === 4) break;
  }
  for await (const { value } of other) seen.push(value);
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await closing;
});

test('a message is refused whole when one of its descriptors is bad at the call', async () => {
  using files = new Files(2);
  const [one, other] = channels();
  const [first, last] = files.fds as [number, number];
  await assert.rejects(one.send(1, [first, 1_000_000, last]), { code: 'EBADF' });
  await assert.rejects(one.send(1, [first, -1]), { code: 'ERR_OUT_OF_RANGE' });
  await assert.rejects(one.send(1, [first, first]), { code: 'ERR_FDPASSER_OWNED' });
  await assert.rejects(one.send(1, 'no array' as unknown as []), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.deepEqual(files.fds.map(identity), files.identities);
  await Promise.all([one.close(), other.close()]);
});

test('send() and receive() are refused after close()', async () => {
  using files = new Files(1);
  const [one, other] = channels();
  await one.close();
  await one.close();
  const CLOSED = { code: 'ERR_FDPASSER_CLOSED', message: /close\(\) was called/ };
  await assert.rejects(one.send(1, files.fds), CLOSED);
  await assert.rejects(one.receive(), CLOSED);
  await other.close();
});

test('datagram sockets and unknown codecs are refused, and nothing is taken over', async () => {
  const [a, b] = socketpair({ type: 'dgram' });
  assert.throws(() => new FdChannel(a), { code: 'ERR_INVALID_ARG_VALUE', message: /stream or seqpacket/ });
  assert.throws(() => new FdChannel(a, { codec: 'xml' as Codec }), { code: 'ERR_INVALID_ARG_VALUE' });
  assert.deepEqual([a.closed, b.closed], [false, false]);
  a.close();
  b.close();
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const connecting = FdChannel.connect(server.path, { codec: 'xml' as Codec });
    await assert.rejects(connecting, { code: 'ERR_INVALID_ARG_VALUE' });
    (await server.accept()).close();
  });
});
