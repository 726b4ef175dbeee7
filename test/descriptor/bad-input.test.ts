import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  fstatSync,
  linkSync,
  lstatSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import {
  FdPasser,
  OwnedFd,
  connect,
  listen,
  peerCredentials,
  socketpair,
  type FdLike,
  type FdPasserOptions,
} from 'fdpasser';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, identity, inFolder, leftOpen, openDescriptors, until } from '../support/descriptors.js';
import { connected, observed, pushFiles, receiveFiles, turns, unexpected } from '../support/passing.js';
import { test } from '../support/test.js';

type Expected = [code: string, message: RegExp];

/** Calls, and checks how it throws or rejects; returns the error. */
async function fails(what: string, call: () => unknown, [code, message]: Expected): Promise<NodeJS.ErrnoException> {
  const error: unknown = await (async () => call())().then(
    () => assert.fail(`${what} did not fail`),
    (error: unknown) => error,
  );
  assert.ok(error instanceof Error, what);
  assert.equal((error as NodeJS.ErrnoException).code, code, `${what}: ${error.message}`);
  assert.match(error.message, message, what);
  return error;
}

// ---- descriptors

const TYPE: Expected = ['ERR_INVALID_ARG_TYPE', /must be a descriptor: a number, an OwnedFd, or an object with fd/];
const RANGE: Expected = ['ERR_OUT_OF_RANGE', /must be an integer >= 0 and <= 2147483647/];
const NOT_OPEN: Expected = ['EBADF', /Descriptor 1000000 is not open/];

const NO_DESCRIPTORS: [unknown, Expected][] = [
  [1_000_000, NOT_OPEN],
  [{ fd: 1_000_000 }, NOT_OPEN],
  [-1, RANGE],
  [1.5, RANGE],
  [Number.NaN, RANGE],
  [2 ** 31, RANGE],
  [{ fd: -1 }, RANGE],
  ['3', TYPE],
  [3n, TYPE],
  [true, TYPE],
  [Symbol('fd'), TYPE],
  [{}, TYPE],
  [{ fd: '3' }, TYPE],
  [() => 3, TYPE],
];

test('anything but an open descriptor is refused wherever one is expected', async () => {
  using passer = disposable(new FdPasser());
  const { value } = passer;
  const calls: Record<string, (fh: FdLike) => unknown> = {
    pushSendFh: (fh) => value.pushSendFh(fh),
    'pushSendFh keepOpen': (fh) => value.pushSendFh(fh, { keepOpen: true }),
    send: (fh) => value.send(fh),
    'send keepOpen': (fh) => value.send(fh, { keepOpen: true }),
    fh: (fh) => new FdPasser({ fh }),
    peerCredentials: (fh) => peerCredentials(fh),
  };
  for (const [bad, expected] of NO_DESCRIPTORS)
    for (const [name, call] of Object.entries(calls))
      await fails(`${name} ${typeof bad}`, () => call(bad as FdLike), expected);
  for (const [bad, expected] of NO_DESCRIPTORS)
    if (typeof bad !== 'object') await fails('OwnedFd', () => new OwnedFd(bad as number), expected);
  for (const bad of [null, undefined]) {
    await fails('pushSendFh', () => value.pushSendFh(bad as unknown as FdLike), TYPE);
    await fails('OwnedFd', () => new OwnedFd(bad as unknown as number), TYPE);
  }
  await fails('inherit', () => FdPasser.inherit(1_000_000), NOT_OPEN);
});

function disposable(value: FdPasser): Disposable & { value: FdPasser } {
  return { value, [Symbol.dispose]: () => value.destroy() };
}

test('a passer refuses anything but one end of a connected AF_UNIX socket, and leaves it open', async () => {
  const advice = /is not one end of a connected AF_UNIX socket/;
  const file = anonymousFile();
  await fails('file', () => new FdPasser({ fh: file }), ['ENOTSOCK', advice]);
  fstatSync(file);
  closeSync(file);

  const before = openDescriptors();
  const tcp = createServer().listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const number = Number.parseInt(
    leftOpen(before).find((name) => name.includes('socket:'))!,
    10,
  );
  await fails('tcp', () => new FdPasser({ fh: number }), ['EAFNOSUPPORT', advice]);
  tcp.close();
  await once(tcp, 'close');

  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`);
    const [one, other] = connected();
    one.pushSendFh(server, { keepOpen: true });
    using listener = await other.receive();
    await fails('listener', () => new FdPasser({ fh: listener }), ['EINVAL', advice]);
    assert.equal(listener.listening, true);
    one.destroy();
    other.destroy();
  });
});

test("an array of one or three descriptors is refused as a pair, and the descriptors stay the caller's", async () => {
  const [a, b] = socketpair();
  const number = b.take();
  await fails('number twice', () => new FdPasser({ fh: [number, number] }), ['ERR_FDPASSER_OWNED', /has an owner/]);
  await fails('OwnedFd twice', () => new FdPasser({ fh: [a, a] }), ['ERR_FDPASSER_NOT_OWNED', /handed to a passer/]);
  for (const fh of [[], [a, number, a]] as unknown as [FdLike, FdLike][])
    await fails(`${fh.length}`, () => new FdPasser({ fh }), ['ERR_INVALID_ARG_TYPE', /must be a descriptor, or two/]);
  await fails('one bad', () => new FdPasser({ fh: [a, 1_000_000] }), NOT_OPEN);
  const file = anonymousFile();
  await fails('a file', () => new FdPasser({ fh: [number, file] }), ['ENOTSOCK', /not one end/]);
  closeSync(file);
  const one = new FdPasser({ fh: a });
  const other = new FdPasser({ fh: number });
  assert.deepEqual(pushFiles(one, 1), await receiveFiles(other, 1));
  one.destroy();
  other.destroy();
});

test('an object that closes its descriptor by itself is refused without keepOpen, and still works', async () => {
  const [one, other] = connected();
  const MANAGED: Expected = ['ERR_FDPASSER_MANAGED', /an instance of FdServer, which will close .*keepOpen/];
  using server = listen(`\0fdpasser-managed-${process.pid}`);
  await fails('pushSendFh', () => one.pushSendFh(server), MANAGED);
  await fails('send', () => one.send(server), MANAGED);
  await fails('fh', () => new FdPasser({ fh: server }), MANAGED);
  using client = await connect(server.path);
  using connection = await server.accept();
  assert.notEqual(identity(client.fd), identity(connection.fd));
  one.pushSendFh(server, { keepOpen: true });
  assert.deepEqual(await receiveFiles(other, 1), [identity(server.fd)]);
  one.destroy();
  other.destroy();
});

test('a call that throws takes nothing over', async () => {
  using passer = disposable(new FdPasser());
  const { value } = passer;
  const fd = anonymousFile();
  using owned = new OwnedFd(anonymousFile());
  for (const fh of [fd, owned]) {
    const CALLBACK: Expected = ['ERR_INVALID_ARG_TYPE', /"sent" argument must be a function\. Received 5/];
    await fails('sent', () => value.pushSendFh(fh, 5 as unknown as () => void), CALLBACK);
    await fails('sent', () => value.pushSendFh(fh, {}, 5 as unknown as () => void), CALLBACK);
    const SIGNAL: Expected = ['ERR_INVALID_ARG_TYPE', /"options\.signal" argument must be an AbortSignal/];
    await fails('signal', () => value.send(fh, { signal: {} as AbortSignal }), SIGNAL);
    await fails('receive', () => value.receive({ signal: {} as AbortSignal }), SIGNAL);
  }
  await fails('received', () => value.pushRecvFh(undefined as unknown as () => void), [
    'ERR_INVALID_ARG_TYPE',
    /"received" argument must be a function/,
  ]);
  assert.equal(owned.closed, false);
  fstatSync(fd);
  closeSync(fd);
});

// ---- options

test('options of the wrong type or range are refused', async () => {
  const [a, b] = socketpair();
  const wrong: [Record<string, unknown>, string, RegExp][] = [
    [{ onError: 5 }, 'ERR_INVALID_ARG_TYPE', /"options\.onError" argument must be a function/],
    [{ onError: null }, 'ERR_INVALID_ARG_TYPE', /"options\.onError" argument must be a function/],
    [{ batch: '1' }, 'ERR_INVALID_ARG_TYPE', /"options\.batch" argument must be a number/],
    ...[0, 254, 1.5, Number.NaN, -1].map((batch): [Record<string, unknown>, string, RegExp] => [
      { batch },
      'ERR_OUT_OF_RANGE',
      /"options\.batch" is out of range\. It must be an integer >= 1 and <= 253/,
    ]),
    [{ payload: 'x' }, 'ERR_INVALID_ARG_TYPE', /"options\.payload" argument must be a Uint8Array\. Received 'x'/],
    [{ payload: Buffer.alloc(0) }, 'ERR_OUT_OF_RANGE', /"options\.payload\.length".*>= 1 and <= 64\. Received 0/],
    [{ payload: Buffer.alloc(65) }, 'ERR_OUT_OF_RANGE', /"options\.payload\.length".*>= 1 and <= 64\. Received 65/],
  ];
  for (const [options, code, text] of wrong)
    await fails(Object.keys(options)[0]!, () => new FdPasser({ fh: a, ...(options as FdPasserOptions) }), [code, text]);
  for (const make of [
    () => new FdPasser(null!),
    () => new FdPasser(a, null!),
    () => new FdPasser(a, 5 as unknown as object),
  ])
    await fails('options', make, ['ERR_INVALID_ARG_TYPE', /"options" argument must be an object/]);
  const TYPES: Expected = [
    'ERR_INVALID_ARG_VALUE',
    /"options\.type" argument must be 'stream' or 'seqpacket' or 'dgram'/,
  ];
  await fails('type', () => socketpair({ type: 'packet' as 'stream' }), TYPES);
  a.close();
  b.close();

  await inFolder(async (folder) => {
    const path = `${folder}/socket`;
    const listens: [Record<string, unknown>, string, RegExp][] = [
      [{ backlog: '1' }, 'ERR_INVALID_ARG_TYPE', /"options\.backlog" argument must be a number/],
      [{ backlog: -1 }, 'ERR_OUT_OF_RANGE', /"options\.backlog".*>= 0/],
      [{ mode: '600' }, 'ERR_INVALID_ARG_TYPE', /"options\.mode" argument must be a number/],
      [{ mode: 0o1000 }, 'ERR_OUT_OF_RANGE', /"options\.mode".*<= 511/],
      [{ allow: true }, 'ERR_INVALID_ARG_TYPE', /"options\.allow" argument must be a function/],
      [{ type: 'dgram', allow: () => true }, 'ERR_INVALID_ARG_VALUE', /"options\.allow" argument must be left out/],
      [{ type: 'packet' }, ...TYPES],
    ];
    for (const [options, code, text] of listens) await fails('listen', () => listen(path, options), [code, text]);
    assert.equal(lstatSync(path, { throwIfNoEntry: false }), undefined);
    const connects: [Record<string, unknown>, string, RegExp][] = [
      [{ type: 'packet' }, ...TYPES],
      [{ timeout: '1' }, 'ERR_INVALID_ARG_TYPE', /"options\.timeout" argument must be a number/],
      [{ timeout: -1 }, 'ERR_OUT_OF_RANGE', /"options\.timeout".*a number >= 0/],
      [{ timeout: Number.NaN }, 'ERR_OUT_OF_RANGE', /"options\.timeout".*a number >= 0/],
      [{ signal: {} }, 'ERR_INVALID_ARG_TYPE', /"options\.signal" argument must be an AbortSignal/],
    ];
    for (const [options, code, text] of connects) await fails('connect', () => connect(path, options), [code, text]);
  });
});

test('the sides of a passer are chosen once, and only where there are two', async () => {
  const NO_PAIR: Expected = ['ERR_FDPASSER_NOT_A_PAIR', /has no two ends to choose from.*made without fh/];
  const [one, other] = connected();
  for (const call of [() => one.iAmParent(), () => one.iAmChild(), () => one.peer]) await fails('one', call, NO_PAIR);
  one.destroy();
  other.destroy();
  const pair = new FdPasser();
  pair.iAmChild();
  for (const call of [() => pair.iAmParent(), () => pair.iAmChild()]) await fails('chosen', call, NO_PAIR);
  pair.destroy();
  await fails('closed', () => pair.iAmParent(), ['ERR_FDPASSER_CLOSED', /destroy\(\) was called/]);
});

// ---- paths

test('a wrong socket name is refused', async () => {
  const PATH: Expected = ['ERR_INVALID_ARG_VALUE', /"path" argument must be a path, or an abstract name after a NUL/];
  const NAME: Expected = ['ERR_INVALID_ARG_TYPE', /"path" argument must be a string/];
  for (const call of [listen, connect]) {
    for (const path of ['', '\0', 'a\0b']) await fails(call.name, () => call(path), PATH);
    for (const path of [5, {}, true]) await fails(call.name, () => call(path as string), NAME);
  }
});

test('a path has at most 107 bytes', async () => {
  await inFolder(async (folder) => {
    const longest = `${folder}/é`.padEnd(106, 'x');
    assert.equal(Buffer.byteLength(longest), 107);
    const LONG: Expected = ['ENAMETOOLONG', /at most 107 bytes, and this one has 108/];
    for (const call of [listen, connect]) {
      const error = await fails(call.name, () => call(`${longest}x`), LONG);
      assert.equal(error.path, `${longest}x`);
    }
    using server = listen(longest);
    using client = await connect(longest);
    using accepted = await server.accept();
    assert.deepEqual([client.kind, accepted.kind], ['unix-stream', 'unix-stream']);
  });
});

test('listen leaves alone a socket in use, and anything that is not a socket', async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/file`;
    writeFileSync(file, 'precious');
    const link = `${folder}/link`;
    symlinkSync('nowhere', link);
    for (const path of [file, link, folder]) {
      const { ino } = lstatSync(path);
      const error = await fails(path, () => listen(path), ['EADDRINUSE', /not a socket is there\. It was left alone/]);
      assert.deepEqual([error.path, error.syscall], [path, 'bind']);
      assert.equal(lstatSync(path).ino, ino);
    }
    assert.equal(readFileSync(file, 'utf8'), 'precious');

    using server = listen(`${folder}/socket`);
    const { ino } = lstatSync(server.path);
    await fails('live', () => listen(server.path), ['EADDRINUSE', /A socket is there, and some process has it open/]);
    assert.equal(lstatSync(server.path).ino, ino);
    using client = await connect(server.path);
    using accepted = await server.accept();
    assert.equal(client.kind, accepted.kind);

    using abstract = listen(`\0${folder}`);
    const taken = await fails('abstract', () => listen(abstract.path), ['EADDRINUSE', /bind '@/]);
    assert.equal(taken.path, abstract.path);
  });
});

test('listen replaces a socket that nobody listens on', async () => {
  await inFolder(async (folder) => {
    const path = deadSocket(folder);
    await fails('dead', () => connect(path), ['ECONNREFUSED', /Nobody listens there/]);
    using server = listen(path);
    using client = await connect(path);
    using accepted = await server.accept();
    assert.equal(client.kind, accepted.kind);
  });
});

/** The path of a socket whose listener is gone. */
function deadSocket(folder: string): string {
  const server = listen(`${folder}/live`);
  linkSync(server.path, `${folder}/dead`);
  server.close();
  return `${folder}/dead`;
}

test('connect reports why nobody can be connected to', async () => {
  await inFolder(async (folder) => {
    const nothing = `${folder}/nothing`;
    const missing = await fails('nothing', () => connect(nothing), ['ENOENT', /Is the listener running/]);
    assert.deepEqual([missing.path, missing.syscall], [nothing, 'connect']);
    await fails('dead', () => connect(deadSocket(folder)), ['ECONNREFUSED', /Nobody listens there/]);
    await fails('abstract', () => connect(`\0${folder}`), ['ECONNREFUSED', /connect '@.*Nobody listens there/]);
    using server = listen(`${folder}/socket`);
    await fails('type', () => connect(server.path, { type: 'seqpacket' }), ['EPROTOTYPE', /has another type/]);
    await fails('folder', () => listen(`${nothing}/socket`), ['ENOENT', /bind '.*nothing\/socket'/]);
  });
});

test('connect and listen report when permissions forbid them', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { mode: 0 });
    const free = `${folder}/free`;
    chmodSync(folder, 0o555);
    const child = startChild('descriptor/nobody', { args: [server.path, free] });
    const end = ended(child);
    const [connecting, listening] = await message<[NodeJS.ErrnoException, NodeJS.ErrnoException]>(child);
    chmodSync(folder, 0o755);
    assert.deepEqual([connecting.code, connecting.path], ['EACCES', server.path]);
    assert.match(connecting.message, /permission denied, connect '.*The permissions of the path, or of a folder/);
    assert.deepEqual([listening.code, listening.path, listening.syscall], ['EACCES', free, 'bind']);
    const { code, signal, stderr } = await end;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  });
});

// ---- what the peer sends

test('data without a descriptor breaks the passer, after what came before it', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const peer = new FdPasser({ fh: b.dup() });
  const fd = anonymousFile();
  const file = identity(fd);
  await peer.send(fd);
  peer.destroy();
  writeSync(b.fd, 'hello');
  await turns();
  assert.equal(life.closes, 0);
  const received = receiveFiles(passer, 1);
  const refused = passer.receive();
  assert.deepEqual(await received, [file]);
  await fails('receive', () => refused, [
    'ERR_FDPASSER_PROTOCOL',
    /sent 5 bytes without a descriptor.*Is the program at the other end a descriptor passer\?/,
  ]);
  await life.over();
  assert.equal((life.reports[0] as NodeJS.ErrnoException).code, 'ERR_FDPASSER_PROTOCOL');
  assert.deepEqual([life.reports.length, life.closes], [1, 1]);
  assert.throws(() => passer.pushRecvFh(unexpected), { code: 'ERR_FDPASSER_CLOSED', message: /without a descriptor/ });
  b.close();
});

test('253 descriptors sent at once wait until one is asked for, come as they are asked for, and the rest is closed', async () => {
  const [a, b] = socketpair();
  const passer = new FdPasser({ fh: a });
  const peer = new FdPasser({ fh: b, batch: 253 });
  const files = pushFiles(peer, 253);
  const before = openDescriptors();
  await until(() => openDescriptors().size < before.size - 200); // sent, and closed on that side
  await turns();
  assert.deepEqual(leftOpen(before), []);
  const received = await receiveFiles(passer, 1);
  received.push(...(await receiveFiles(passer, 9)));
  assert.deepEqual(received, files.slice(0, 10));
  await passer.close();
  assert.deepEqual(leftOpen(before), []);
  peer.destroy();
});
