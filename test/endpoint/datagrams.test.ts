import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { fstatSync, readFileSync } from 'node:fs';
import { FdPasser, connect, listen, sendDatagram, socketpair } from 'fdpasser';
import { ended, startPython } from '../support/child.js';
import { anonymousFile, closeAll, identity, inFolder } from '../support/descriptors.js';
import { receiveFiles } from '../support/passing.js';
import { test } from '../support/test.js';

/** Acts as systemd's notify socket: prints the text of each datagram and the files that came with it. */
const SERVICE_MANAGER = `
import array, os, socket, sys
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(sys.stdin.readline().strip())
print("bound", flush=True)
for _ in range(3):
    data, fds, flags, _ = socket.recv_fds(notify, 4096, 253)
    files = [f"{os.fstat(fd).st_dev}:{os.fstat(fd).st_ino}" for fd in fds]
    for fd in fds: os.close(fd)
    print(data.decode(), *files, flush=True)
`;

/** More datagrams than a queue takes: 10 by default, and 512 where systemd runs. */
const TOO_MANY = Number(readFileSync('/proc/sys/net/unix/max_dgram_qlen', 'utf8')) + 30;

test('a datagram brings its bytes and descriptors to a path, as a service manager takes them', async () => {
  await inFolder(async (folder) => {
    const [end, other] = socketpair();
    const manager = startPython(SERVICE_MANAGER, other);
    other.close();
    end.close();
    const finished = ended(manager);
    const lines = createInterface({ input: manager.stdout! })[Symbol.asyncIterator]();
    manager.stdin!.end(`${folder}/notify\n`);
    assert.equal((await lines.next()).value, 'bound');

    await sendDatagram(`${folder}/notify`, Buffer.from('READY=1'));
    assert.equal((await lines.next()).value, 'READY=1');
    const stored = [anonymousFile(), anonymousFile()];
    const files = stored.map(identity);
    await sendDatagram(`${folder}/notify`, Buffer.from('FDSTORE=1'), stored);
    assert.equal((await lines.next()).value, `FDSTORE=1 ${files.join(' ')}`);
    for (const fd of stored) assert.throws(() => fstatSync(fd), { code: 'EBADF' });

    const many = Array.from({ length: 253 }, anonymousFile);
    await sendDatagram(`${folder}/notify`, Buffer.alloc(0), many, { keepOpen: true });
    assert.equal((await lines.next()).value, ` ${many.map(identity).join(' ')}`);
    closeAll(many);
    const { code, signal, stderr } = await finished;
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  });
});

test('a passer over a bound datagram socket receives from whoever sends there', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { type: 'dgram' });
    await using passer = new FdPasser({ fh: await server.accept() });
    const fds = [anonymousFile(), anonymousFile(), anonymousFile()] as const;
    const files = fds.map(identity);
    await sendDatagram(server.path, Buffer.of(0), [fds[0], fds[1]]);
    await sendDatagram(server.path, Buffer.of(0), [fds[2]]);
    assert.deepEqual(await receiveFiles(passer, 3), files);
  });
});

test('a datagram reaches an abstract name as NOTIFY_SOCKET has it', async () => {
  const name = `fdpasser-notify-${process.pid}`;
  using server = listen(`\0${name}`, { type: 'dgram' });
  await using passer = new FdPasser({ fh: await server.accept() });
  const fd = anonymousFile();
  const file = identity(fd);
  await sendDatagram(`@${name}`, Buffer.of(0), [fd]);
  assert.deepEqual(await receiveFiles(passer, 1), [file]);
  await assert.rejects(connect(`@${name}`), { code: 'ENOENT', message: /An abstract name starts with a NUL/ });
});

test('accepting from a datagram server again and again lets the event loop turn', async () => {
  using server = listen(`\0fdpasser-again-${process.pid}`, { type: 'dgram' });
  const later = AbortSignal.timeout(20);
  const began = performance.now();
  while (!later.aborted) {
    (await server.accept()).close();
    assert.ok(performance.now() - began < 60_000);
  }
});

test('a loop over a datagram server lets the event loop turn, and ends when it is closed', async () => {
  using server = listen(`\0fdpasser-loop-${process.pid}`, { type: 'dgram' });
  let rounds = 0;
  setTimeout(() => server.close(), 50);
  for await (const socket of server) {
    assert.equal(socket.kind, 'unix-dgram');
    socket.close();
    assert.ok(++rounds < 100);
  }
  assert.ok(rounds > 0);
});

test('datagrams wait while the queue of their receiver is full', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { type: 'dgram' });
    await using passer = new FdPasser({ fh: await server.accept() });
    const files: string[] = [];
    let done = 0;
    const sent: Promise<void>[] = [];
    for (let i = 0; i < TOO_MANY; i++) {
      const fd = anonymousFile();
      files.push(identity(fd));
      sent.push(sendDatagram(server.path, Buffer.of(0), [fd]).then(() => void done++));
    }
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(done < TOO_MANY, `${done} of ${TOO_MANY} went into a queue that nobody reads`);
    assert.deepEqual((await receiveFiles(passer, TOO_MANY)).toSorted(), files.toSorted());
    await Promise.all(sent);
  });
});

test('descriptors of a datagram that cannot be sent are refused, and stay open', async () => {
  await inFolder(async (folder) => {
    const fd = anonymousFile();
    await assert.rejects(sendDatagram(`${folder}/nobody`, Buffer.of(0), [fd]), { code: 'ENOENT', syscall: 'connect' });
    using server = listen(`${folder}/socket`, { type: 'dgram' });
    await assert.rejects(sendDatagram(server.path, Buffer.alloc(1 << 24), [fd]), { code: 'EMSGSIZE' });
    await assert.rejects(sendDatagram(server.path, Buffer.of(0), Array(254).fill(fd)), { code: 'ERR_OUT_OF_RANGE' });
    await assert.rejects(sendDatagram(server.path, 'text' as unknown as Buffer, [fd]), {
      code: 'ERR_INVALID_ARG_TYPE',
    });
    const signal = AbortSignal.abort();
    await assert.rejects(sendDatagram(server.path, Buffer.of(0), [fd], { signal }), { name: 'AbortError' });

    using stream = listen(`${folder}/stream`);
    await assert.rejects(sendDatagram(stream.path, Buffer.of(0), [fd]), { code: 'EPROTOTYPE' });
    closeAll([fd]);
  });
});

test('a datagram that waits can be aborted, and gives back its descriptors', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { type: 'dgram' });
    const fd = anonymousFile();
    const control = new AbortController();
    const waiting = Array.from({ length: TOO_MANY }, () =>
      sendDatagram(server.path, Buffer.of(0), [fd], { keepOpen: true, signal: control.signal }),
    );
    await Promise.race(waiting);
    const last = sendDatagram(server.path, Buffer.of(0), [fd], { signal: control.signal });
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    control.abort();
    await assert.rejects(last, { name: 'AbortError' });
    await Promise.allSettled(waiting);
    fstatSync(fd);
    closeAll([fd]);
  });
});

test('a datagram that waits can be aborted at each step of the call', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { type: 'dgram' });
    const control = new AbortController();
    const { signal } = control;
    const waiting = Array.from({ length: TOO_MANY }, () => sendDatagram(server.path, Buffer.of(0), [], { signal }));
    await Promise.race(waiting);
    await new Promise((resolve) => setImmediate(resolve)); // the queue is full
    for (let steps = 0; steps < 10; steps++) {
      const last = new AbortController();
      const sent = sendDatagram(server.path, Buffer.of(0), [], { signal: last.signal });
      for (let i = 0; i < steps; i++) await Promise.resolve();
      last.abort();
      await assert.rejects(sent, { name: 'AbortError' });
    }
    control.abort();
    await Promise.allSettled(waiting);
  });
});
