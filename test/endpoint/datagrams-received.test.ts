import assert from 'node:assert/strict';
import { fstatSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { OwnedFd, listen, receiveDatagram, sendDatagram, socketpair, type Datagram, type FdServer } from 'fdpasser';
import { ended, message, startChild, startPython } from '../support/child.js';
import { anonymousFile, closeAll, identity, inFolder, leftOpen, openDescriptors } from '../support/descriptors.js';
import { turns } from '../support/passing.js';
import { test } from '../support/test.js';

let names = 0;

/** A bound datagram socket of an abstract name. */
function bound(): FdServer {
  return listen(`\0fdpasser-received-${process.pid}-${names++}`, { type: 'dgram' });
}

/** Its text, and the identities of its descriptors, which are closed. */
function shown({ bytes, fds }: Datagram): string[] {
  const files = fds.map(({ fd }) => identity(fd));
  OwnedFd.closeAll(fds);
  return [bytes.toString(), ...files];
}

/** Sends the text with `count` new files. Returns what must be received. */
async function sent(to: FdServer, text: string, files = 0): Promise<string[]> {
  const fds = Array.from({ length: files }, anonymousFile);
  const identities = fds.map(identity);
  await sendDatagram(to.path, Buffer.from(text), fds);
  return [text, ...identities];
}

test('datagrams are received one by one, in order, each with its bytes and its own descriptors', async () => {
  const before = openDescriptors();
  const server = bound();
  using socket = await server.accept();
  const expected = [];
  for (const [text, files] of [
    ['', 0],
    ['one', 2],
    ['', 1],
    ['two', 0],
    ['x'.repeat(60_000), 253],
  ] as const)
    expected.push(await sent(server, text, files));
  const received = [];
  for (const from of [socket, server, socket, { fd: socket.fd }, socket.fd])
    received.push(shown(await receiveDatagram(from)));
  assert.deepEqual(received, expected);
  assert.equal(socket.closed, false);
  socket.close();
  server.close();
  assert.deepEqual(leftOpen(before), []);
});

test('a program in Python sends a datagram, and what is received is the file that it opened', async () => {
  const [ours, theirs] = socketpair({ type: 'dgram' });
  const python = startPython(
    'import os, socket, tempfile\n' +
      'wire = socket.socket(fileno=3)\n' +
      'with tempfile.TemporaryFile() as file:\n' +
      '    found = os.fstat(file.fileno())\n' +
      '    socket.send_fds(wire, [f"{found.st_dev}:{found.st_ino}".encode()], [file.fileno()])\n',
    theirs,
  );
  theirs.close();
  const [text, ...files] = shown(await receiveDatagram(ours));
  assert.deepEqual(files, [text]);
  assert.equal((await ended(python)).code, 0);
  ours.close();
});

test('receives that wait on one socket get a datagram each', async () => {
  using server = bound();
  using socket = await server.accept();
  const waiting = [receiveDatagram(socket), receiveDatagram(socket)];
  await turns();
  const expected = [await sent(server, 'one', 1), await sent(server, 'two')].map(String);
  const received = (await Promise.all(waiting)).map((datagram) => String(shown(datagram)));
  assert.deepEqual(new Set(received), new Set(expected));
});

test('a receive that is aborted takes no datagram, leaves nothing open, and the next receive gets it', async () => {
  const before = openDescriptors();
  const server = bound();
  const control = new AbortController();
  const waiting = receiveDatagram(server, { signal: control.signal });
  await turns();
  const expected = await sent(server, 'kept', 1);
  control.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  assert.deepEqual(shown(await receiveDatagram(server)), expected);
  server.close();
  assert.deepEqual(leftOpen(before), []);
});

test('a datagram longer than maxBytes is refused, and one of just that length is received', async () => {
  using server = bound();
  const expected = await sent(server, 'eight by', 1);
  const long = { code: 'EMSGSIZE', message: /more than 7 bytes, and stays in the queue/ };
  for (let i = 0; i < 2; i++) await assert.rejects(receiveDatagram(server, { maxBytes: 7 }), long);
  assert.deepEqual(shown(await receiveDatagram(server, { maxBytes: 8 })), expected);
  const more = await sent(server, 'more room than usual');
  assert.deepEqual(shown(await receiveDatagram(server, { maxBytes: 300_000 })), more);
});

test('a datagram whose descriptors find no room in the table waits in the kernel until there is', async () => {
  await inFolder(async (folder) => {
    const child = startChild('endpoint/datagram-full', { descriptors: 40, args: [`${folder}/socket`] });
    const end = ended(child);
    assert.equal(await message(child), 'full');
    const report = message<string[]>(child);
    const fds = [anonymousFile(), anonymousFile()];
    const files = fds.map(identity);
    await sendDatagram(`${folder}/socket`, Buffer.from('both'), fds);
    child.send('sent');
    assert.deepEqual(await report, ['both', ...files]);
    assert.equal((await end).code, 0);
  });
});

test('anything but an AF_UNIX datagram socket is refused, and stays as it was', async () => {
  const before = openDescriptors();
  const [stream, other] = socketpair();
  const fd = anonymousFile();
  await assert.rejects(receiveDatagram(stream), { code: 'ERR_INVALID_ARG_VALUE', message: /dgram/ });
  await assert.rejects(receiveDatagram(fd), { code: 'ENOTSOCK' });
  await assert.rejects(receiveDatagram('path' as unknown as number), { code: 'ERR_INVALID_ARG_TYPE' });
  await assert.rejects(receiveDatagram(1_000_000), { code: 'EBADF' });
  const udp = createSocket('udp4').bind(0, '127.0.0.1');
  await new Promise<void>((resolve) => void udp.once('listening', resolve));
  await assert.rejects(receiveDatagram(udp), { code: 'EAFNOSUPPORT' });
  await new Promise<void>((resolve) => void udp.close(resolve));
  using server = bound();
  await assert.rejects(receiveDatagram(server, { maxBytes: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  await assert.rejects(receiveDatagram(server, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.equal(stream.closed, false);
  fstatSync(fd);
  closeAll([fd]);
  for (const end of [stream, other]) end.close();
  server.close();
  assert.deepEqual(leftOpen(before), []);
});

test('a receive is told that the other end of a datagram pair has been shut down', async () => {
  const [ours, theirs] = socketpair({ type: 'dgram' });
  const waiting = receiveDatagram(ours);
  const python = startPython('import socket\nsocket.socket(fileno=3).shutdown(socket.SHUT_RDWR)\n', ours);
  theirs.close();
  await assert.rejects(waiting, { code: 'ERR_FDPASSER_CLOSED', message: /shut it down/ });
  await ended(python);
  ours.close();
});

test('a process lives while it waits for a datagram, and no longer', async () => {
  await inFolder(async (folder) => {
    using server = listen(`${folder}/socket`, { type: 'dgram' });
    const child = startChild('endpoint/datagram-lives', { peer: server });
    const end = ended(child);
    assert.equal(await message(child), 'waits');
    await sent(server, 'go on', 1);
    assert.deepEqual(await end, { code: 0, signal: null, stdout: 'go on 1', stderr: '' });
  });
});
