import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, writeFileSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { FdChannel, listen, socketpair, type FdChannelOptions, type Message } from 'fdpasser';
import { encodeHello } from '#dist/channel/frames.js';
import { HELLO, RawPeer, TYPES, type Type } from '../support/channels.js';
import { ended, type Ended } from '../support/child.js';
import { connection } from '../support/connection.js';
import { anonymousFile, identity, inFolder, until } from '../support/descriptors.js';
import { needs } from '../support/needs.js';
import { partly, test } from '../support/test.js';

const PEER = fileURLToPath(new URL('../../../test/python/peer.py', import.meta.url));
const EXAMPLES = fileURLToPath(new URL('../../../examples/python', import.meta.url));

// The guard is only for Node, and Python must leave no compiled files behind.
const { LD_PRELOAD: _, ...env } = process.env;

/** A channel of `examples/python/fdp1.py`, in a process of its own that obeys commands. */
class PythonChannel {
  readonly #child: ChildProcess;
  readonly #whenEnded: Promise<Ended>;
  readonly #lines: AsyncIterator<string>;

  constructor(socket: { readonly fd: number }, options: Record<string, unknown>) {
    needs('python3');
    this.#child = spawn('python3', ['-B', PEER, EXAMPLES, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'pipe', socket.fd],
      env,
    });
    this.#whenEnded = ended(this.#child);
    this.#lines = createInterface(this.#child.stdout!)[Symbol.asyncIterator]();
  }

  tell(...command: unknown[]): void {
    this.#child.stdin!.write(`${JSON.stringify(command)}\n`);
  }

  /** What it says next. */
  async says(): Promise<unknown[]> {
    return JSON.parse((await this.#lines.next()).value as string) as unknown[];
  }

  async ask(...command: unknown[]): Promise<unknown[]> {
    this.tell(...command);
    return this.says();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Makes it end. It must end in order, with nothing left open. Resolves with its warnings. */
  async end(warnings = /^$/): Promise<string> {
    this.#child.stdin!.end();
    assert.deepEqual(await this.says(), ['left open', []]);
    const { code, signal, stderr } = await this.#whenEnded;
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr);
    assert.match(stderr, warnings);
    return stderr;
  }
}

function pair<T = unknown>(
  type: Type,
  options: FdChannelOptions = {},
  pythons: Record<string, unknown> = {},
): [FdChannel<T>, PythonChannel] {
  const [a, b] = socketpair({ type });
  const python = new PythonChannel(b, pythons);
  b.close();
  return [new FdChannel<T>(a, options), python];
}

/** Python, with a raw socket at its other end. */
function rawPeer(type: Type, options: Record<string, unknown> = {}): [RawPeer, PythonChannel] {
  const [a, b] = socketpair({ type });
  const python = new PythonChannel(b, options);
  b.close();
  return [new RawPeer(a), python];
}

/** A PART. */
function part(body: string, { flags = 0, fds = 0 } = {}): Buffer {
  const frame = Buffer.alloc(8 + body.length, 0);
  frame.writeUInt8(1, 0);
  frame.writeUInt8(flags, 1);
  frame.writeUInt16LE(fds, 2);
  frame.writeUInt32LE(body.length, 4);
  frame.write(body, 8, 'latin1');
  return frame;
}

const MORE = 1;
/** Makes Python send more than a socket holds, and waits until it has begun. */
async function beginLarge(peer: RawPeer, python: PythonChannel, command: string): Promise<void> {
  await until(() => peer.receive().length === encodeHello(HELLO).length);
  peer.hello({ window: 1 << 24 });
  python.tell(command, 'x'.repeat(4_000_000));
  await until(() => peer.pending > 0);
}

/** Not open in Python. */
const BAD = 9999;

for (const type of TYPES) {
  partly(type === 'stream')(
    `values and descriptors go to Python and back, in order, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<number>(type);
      python.tell('echo');
      const sent: string[][] = [];
      const sends: Promise<void>[] = [];
      for (let i = 0; i < 300; i++) {
        const fds = Array.from({ length: i % 6 }, anonymousFile);
        sent.push(fds.map(identity));
        sends.push(channel.send(i, fds, { confirm: i % 3 === 0 }));
      }
      for (let i = 0; i < 300; i++) {
        using message = await channel.receive();
        assert.equal(message.value, i);
        assert.deepEqual(
          message.fds.map(({ fd }) => identity(fd)),
          sent[i],
        );
      }
      await Promise.all(sends);
      await channel.close();
      assert.deepEqual(await python.says(), ['ended']);
      await python.end();
    },
  );

  partly(type === 'stream')(
    `a message larger than a frame or a sendmsg goes to Python and back, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<string>(type, { maxMessageBytes: 1 << 24 });
      python.tell('echo');
      const files = Array.from({ length: 5 }, anonymousFile);
      for (const [bytes, count] of [
        [0, 254],
        [65_534, 1],
        [65_535, 253],
        [1_000_000, 700],
      ] as const) {
        const fds = Array.from({ length: count }, (_, i) => files[i % 5]!);
        await channel.send('é'.repeat(bytes / 2), fds, { keepOpen: true });
        using message = await channel.receive();
        assert.equal(message.value, 'é'.repeat(bytes / 2));
        assert.deepEqual(
          message.fds.map(({ fd }) => identity(fd)),
          fds.map(identity),
        );
      }
      for (const fd of files) closeSync(fd);
      await channel.close();
      assert.deepEqual(await python.says(), ['ended']);
      await python.end();
    },
  );

  partly(type === 'stream')(`the codec 'bytes' is the same in Python, over a ${type} socket`, async () => {
    const [channel, python] = pair<Buffer>(type, { codec: 'bytes' }, { codec: 'bytes' });
    python.tell('echo');
    for (const bytes of [Buffer.alloc(0), Buffer.from([0, 255, 10]), Buffer.alloc(200_000, 'abc')]) {
      await channel.send(bytes);
      assert.deepEqual((await channel.receive()).value, bytes);
    }
    await channel.close();
    assert.deepEqual(await python.says(), ['ended']);
    await python.end();
  });

  partly(type === 'stream')(
    `each end confirms what its application took, and not before, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<string>(type);
      let confirmed = false;
      const fd = anonymousFile();
      const sent = identity(fd);
      const send = channel.send('from Node', [fd], { confirm: true }).then(() => (confirmed = true));
      assert.deepEqual(await python.ask('send', 'hold'), ['sent']);
      assert.equal((await channel.receive()).value, 'hold');
      assert.equal(confirmed, false);
      assert.deepEqual(await python.ask('take'), ['took', 'from Node', [sent]]);
      await send;

      python.tell('confirm', 'from Python');
      assert.deepEqual(await python.ask('sent'), [0]); // its next message is not a confirmation
      assert.equal((await channel.receive()).value, 'from Python');
      assert.deepEqual(await python.says(), ['confirmed', 'from Python']);
      await channel.close();
      await python.end();
    },
  );

  partly(type === 'stream')(`each end stops at the other's window, over a ${type} socket`, async () => {
    const [channel, python] = pair<string>(type, { highWaterMark: 1000 }, { window: 1000 });
    let resolved = 0;
    const sends = Array.from({ length: 50 }, (_, i) => channel.send(`${i}`.padEnd(90, 'x')).then(() => resolved++));
    await until(() => resolved >= 10);
    assert.deepEqual(await python.ask('flood', 50, 90), ['flooding']);
    for (;;) {
      const [count] = await python.ask('sent');
      if (count === 10) break;
    }
    assert.equal(resolved, 10);
    for (let i = 0; i < 50; i++) assert.deepEqual(await python.ask('take'), ['took', `${i}`.padEnd(90, 'x'), []]);
    await Promise.all(sends);
    assert.deepEqual(await python.ask('sent'), [10]); // although much was sent in the other direction since
    for (let i = 0; i < 50; i++) assert.equal((await channel.receive()).value, `${i}`.padEnd(90, 'x'));
    await channel.close();
    await python.end();
  });

  partly(type === 'stream')(`an end in order is an end in order at the other side, over a ${type} socket`, async () => {
    const said: (Error | undefined)[] = [];
    const [channel, python] = pair<string>(type, { onError: (error) => said.push(error) });
    assert.deepEqual(await python.ask('send', 'last'), ['sent']);
    assert.deepEqual(await python.ask('close'), ['closed']);
    const values: string[] = [];
    for await (const { value } of channel) values.push(value);
    assert.deepEqual(values, ['last']);
    await until(() => said.length > 0);
    assert.deepEqual(said, [undefined]);
    await python.end();
  });

  partly(type === 'stream')(
    `Python takes messages that came before Node closed, and they are confirmed, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<string>(type);
      const sends = ['a', 'b'].map((value) => channel.send(value, [], { confirm: true }));
      await channel.send('c');
      const whenClosed = channel.close();
      for (const value of ['a', 'b', 'c']) assert.deepEqual(await python.ask('take'), ['took', value, []]);
      await Promise.all(sends);
      await whenClosed;
      assert.deepEqual(await python.ask('take'), ['ended']);
      await python.end();
    },
  );

  partly(type === 'stream')(
    `Python replies to requests, in any order, and drops some, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<string>(type);
      python.tell('serve');
      const sent: string[][] = [];
      const asking = Array.from({ length: 40 }, (_, i) => {
        const fds = Array.from({ length: i === 10 ? 300 : i % 4 }, anonymousFile);
        sent.push(fds.map(identity));
        return channel.request(`${i}`, fds);
      });
      for (const [i, asked] of asking.entries()) {
        using reply = await asked;
        assert.equal(reply.value, `${i}`);
        assert.deepEqual(
          reply.fds.map(({ fd }) => identity(fd)),
          sent[i],
        );
      }
      await assert.rejects(channel.request('nothing'), { code: 'ERR_FDPASSER_NO_REPLY' });
      const last = [channel.request('a'), channel.request('b')];
      await channel.close(); // Python can still reply after that
      assert.deepEqual(await Promise.all(last.map(async (asked) => (await asked).value)), ['a', 'b']);
      assert.deepEqual(await python.says(), ['ended']);
      await python.end();
    },
  );

  partly(type === 'stream')(
    `Python gets replies to its requests, or an error with the reason, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<string>(type, {}, { window: 1000 });
      // Nobody takes these, but replies still come.
      for (let i = 0; i < 10; i++) await channel.send(''.padEnd(90, 'x'));
      python.tell('request', 'one');
      python.tell('request', 'two');
      const requests = new Map<string, Message<string, string>>();
      for (let i = 0; i < 2; i++) {
        const request = await channel.receive();
        requests.set(request.value, request);
      }
      const fd = anonymousFile();
      const file = identity(fd);
      await requests.get('two')!.reply('2'.repeat(5000), [fd]);
      assert.deepEqual(await python.says(), ['replied', '2'.repeat(5000), [file]]);
      requests.get('one')![Symbol.dispose]();
      assert.deepEqual(await python.says(), ['raised', 'NoReply']);

      python.tell('request', 'slow', [], 0.02);
      const slow = await channel.receive();
      assert.deepEqual(await python.says(), ['raised', 'TimeoutError']);
      await slow.reply('late', [anonymousFile()]);
      python.tell('request', 'last');
      const last = await channel.receive();
      channel.destroy();
      assert.deepEqual(await python.says(), ['raised', 'Closed']);
      last[Symbol.dispose]();
      await python.end();
    },
  );

  partly(type === 'stream')(
    `a reply that Python refuses can be followed by another, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<string>(type, { maxMessageBytes: 100 });
      const asking = channel.request('asked');
      python.tell('reply wrongly');
      assert.deepEqual(await python.says(), ['raised', 'ValueError']);
      assert.deepEqual(await python.says(), ['raised', 'OSError']);
      assert.deepEqual(await python.says(), ['expects', false]);
      assert.equal((await asking).value, 'right');
      await channel.close();
      await python.end();
    },
  );

  partly(type === 'stream')(`Python reports a peer that takes no requests, over a ${type} socket`, async () => {
    const [peer, python] = rawPeer(type);
    peer.hello({ capabilities: 0 });
    assert.deepEqual(await python.ask('request', 'what?'), ['raised', 'NoRequests']);
    peer.close();
    await python.end();
  });

  partly(type === 'stream')(
    `Python gets an error when its messages will not be taken, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<string>(type);
      python.tell('confirm', 'never');
      assert.deepEqual(await python.ask('send', 'sent'), ['sent']);
      channel.destroy();
      assert.deepEqual(await python.says(), ['not confirmed', 'never']);
      await python.end();
    },
  );
}

for (const type of TYPES) {
  partly(type === 'stream')(
    `a descriptor that is not open is refused before anything is sent or counted, over a ${type} socket`,
    async () => {
      const [channel, python] = pair<string>(type, { highWaterMark: 1000 });
      for (const fds of [[BAD], [0, BAD, 0], [...Array<number>(299).fill(0), BAD], [-1]])
        // If they counted, the window and the limit of descriptors would soon be full.
        for (let i = 0; i < 5; i++) {
          const [raised, , errno] = await python.ask('send', 'x'.repeat(500), fds);
          assert.deepEqual([raised, errno], ['raised', fds[0] === -1 ? null : constants.errno.EBADF]);
        }
      assert.deepEqual(await python.ask('send', 'no number', ['0']), ['raised', 'TypeError', null]);
      python.tell('confirm', 'good');
      using message = await channel.receive();
      assert.deepEqual([message.value, message.fds], ['good', []]);
      assert.deepEqual(await python.says(), ['confirmed', 'good']);
      await channel.close();
      await python.end();
    },
  );

  partly(type === 'stream')(
    `a message that is interrupted halfway ends the channel, over a ${type} socket`,
    async () => {
      const [peer, python] = rawPeer(type);
      await beginLarge(peer, python, 'send');
      python.kill('SIGINT');
      assert.deepEqual(await python.says(), ['raised', 'KeyboardInterrupt']);
      await until(() => (peer.receive(), peer.atEnd));
      assert.deepEqual(await python.ask('send', 'after'), ['raised', 'Closed']);
      assert.deepEqual(await python.ask('take'), ['raised', 'Closed', 'a message could not be sent whole']);
      peer.close();
      await python.end();
    },
  );

  partly(type === 'stream')(`close() ends the waits of other threads, over a ${type} socket`, async () => {
    const [peer, python] = rawPeer(type);
    await beginLarge(peer, python, 'send later');
    python.tell('send later', 'behind it');
    assert.deepEqual(await python.ask('take later'), ['waiting']);
    python.tell('close');
    const said = await Promise.all([python.says(), python.says(), python.says(), python.says()]);
    const closed = [['closed'], ['ended'], ['raised', 'Closed'], ['raised', 'Closed']];
    assert.deepEqual(said.toSorted(), closed);
    peer.close();
    await python.end();
  });

  partly(type === 'stream')(`close() ends a thread that waits for the window, over a ${type} socket`, async () => {
    const [peer, python] = rawPeer(type);
    peer.hello({ window: 10 });
    assert.deepEqual(await python.ask('send', 'first'), ['sent']);
    python.tell('send later', 'second');
    python.tell('confirm', 'third');
    python.tell('close');
    const said = await Promise.all([python.says(), python.says(), python.says()]);
    assert.deepEqual(said.toSorted(), [['closed'], ['not confirmed', 'third'], ['raised', 'Closed']]);
    peer.close();
    await python.end();
  });

  partly(type === 'stream')(
    `a reset in the middle of a message is an error, and after one is the end, over a ${type} socket`,
    async () => {
      for (const [flags, then] of [
        [MORE, ['raised', 'ProtocolError', 'the peer ended in the middle of a message']],
        [0, ['ended']],
      ] as const) {
        const [peer, python] = rawPeer(type);
        peer.hello();
        peer.send(part('"whole"'));
        peer.send(part('"last"', { flags, fds: 1 }), [0]);
        assert.deepEqual(await python.ask('send', 'never read'), ['sent']);
        peer.close();
        assert.deepEqual(await python.ask('take'), ['took', 'whole', []]);
        if (flags === 0) assert.deepEqual((await python.ask('take')).slice(0, 2), ['took', 'last']);
        assert.deepEqual(await python.ask('take'), then);
        await python.end();
      }
    },
  );

  partly(type === 'stream')(
    `a peer that sends no hello in time is given up, and the descriptors that it sent are closed, over a ${type} socket`,
    async () => {
      for (const said of type === 'stream' ? [0, 3] : [0]) {
        const [peer, python] = rawPeer(type, { hello_timeout: 0.2 });
        if (said > 0) peer.send(encodeHello(HELLO).subarray(0, said), [0, 0, 0]);
        const [raised, what, why] = await python.ask('take');
        assert.deepEqual([raised, what], ['raised', 'ProtocolError']);
        assert.match(String(why), /no hello within 0\.2 seconds/);
        assert.deepEqual(await python.ask('send', 'after'), ['raised', 'Closed']);
        peer.close();
        await python.end();
      }
    },
  );
}

test('a message whose beginning the system refuses is not counted', async () => {
  const [channel, python] = pair<string>('seqpacket', {}, { sndbuf: 8192 });
  const refused = ['raised', 'OSError', constants.errno.EMSGSIZE];
  for (let i = 0; i < 5; i++) assert.deepEqual(await python.ask('send', 'x'.repeat(20_000)), refused);
  python.tell('confirm', 'good');
  assert.equal((await channel.receive()).value, 'good');
  assert.deepEqual(await python.says(), ['confirmed', 'good']);
  await channel.close();
  await python.end();
});

test('a number that JSON cannot express is refused at the sender, and the next message arrives', async () => {
  const [channel, python] = pair('stream');
  for (const number of ['nan', 'inf', '-inf'])
    assert.deepEqual(await python.ask('send number', number), ['raised', 'ValueError', null]);
  python.tell('confirm', 'good');
  assert.equal((await channel.receive()).value, 'good');
  assert.deepEqual(await python.says(), ['confirmed', 'good']);
  await channel.close();
  await python.end();
});

test('Python passes over a message that is not JSON, with a warning, and closes its descriptors', async () => {
  const [peer, python] = rawPeer('stream');
  peer.hello();
  const bodies = ['NaN', '{"x":-Infinity}', '\xff', '\0"\0a\0"', '{', '['.repeat(60_000)];
  for (const body of bodies) {
    peer.send(part(body, { fds: 1 }), [0]);
    peer.send(part('"good"'));
    assert.deepEqual(await python.ask('take'), ['took', 'good', []]);
  }
  const greeting = encodeHello(HELLO).length;
  const taken = 12;
  await until(() => peer.receive().length === greeting + 2 * bodies.length * taken);
  assert.equal(peer.receive().readUInt32LE(peer.receive().length - 4), 2 * bodies.length);
  peer.close();
  const stderr = await python.end(/UserWarning: a message came that cannot be read, and was passed over/);
  assert.match(stderr, /NaN is not JSON/);
});

test('Python gets the bytes that were already read from connections', async () => {
  const [channel, python] = pair<string>('stream');
  const connections = [await connection(), await connection()] as const;
  for (const [i, [client, accepted]] of connections.entries()) {
    accepted.on('readable', () => {});
    client.write(`of ${i}`);
    await until(() => accepted.readableLength === 4);
  }
  const [first, second] = connections.map(([, accepted]) => accepted) as [Socket, Socket];
  await channel.send('three', [first, anonymousFile(), second]);
  assert.deepEqual(await python.ask('unread'), ['unread', 'three', { 0: 'of 0', 2: 'of 1' }]);
  for (const [client] of connections) client.destroy();
  await channel.close();
  await python.end();
});

test('examples/python/client.py hands files to a server', async () => {
  needs('python3');
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const names = ['a', 'b'].map((name) => `${folder}/${name}`);
    for (const name of names) writeFileSync(name, `in ${name}`);
    const child = spawn('python3', ['-B', `${EXAMPLES}/client.py`, server.path, ...names], { env });
    const whenEnded = ended(child);
    const channel = new FdChannel(await server.accept());
    for (const name of names) {
      using message = await channel.receive();
      assert.deepEqual(message.value, { name });
      const own = openSync(name, 'r');
      assert.equal(identity(message.fds[0]!.fd), identity(own));
      closeSync(own);
      await channel.send(readFileSync(message.fds[0]!.fd, 'utf8'));
    }
    await channel.close();
    const { code, signal, stdout, stderr } = await whenEnded;
    const lines = names.map((name) => `in ${name}\n`).join('');
    assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: lines, stderr: '' });
  });
});
