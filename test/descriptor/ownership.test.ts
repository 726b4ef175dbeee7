import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { FdPasser, OwnedFd, socketpair, type Kind } from 'fdpasser';
import { ended, startPython } from '../support/child.js';
import { O_CLOEXEC, anonymousFile, collectUntil, flagsOf, identity, until } from '../support/descriptors.js';
import { connected, pushFiles, receiveFiles, turns } from '../support/passing.js';
import { test } from '../support/test.js';

const NOT_OPEN = { code: 'EBADF' };
const NOT_OWNED = { code: 'ERR_FDPASSER_NOT_OWNED', message: /no descriptor any more.*dup\(\)/ };
const OWNED = { code: 'ERR_FDPASSER_OWNED', message: /already has an owner.*keepOpen/ };
const LENT = { code: 'ERR_FDPASSER_LENT', message: /waits to be sent with keepOpen.*dup\(\)/ };

// ---- sending

test('a descriptor is closed here once it was sent', async () => {
  const [one, other] = connected();
  const number = anonymousFile();
  const owned = new OwnedFd(anonymousFile());
  const wrapped = { fd: anonymousFile() };
  const files = [number, owned.fd, wrapped.fd].map(identity);
  await one.send(number);
  await one.send(owned);
  await new Promise<void>((resolve) => one.pushSendFh(wrapped, resolve));
  assert.throws(() => fstatSync(number), NOT_OPEN);
  assert.throws(() => fstatSync(wrapped.fd), NOT_OPEN);
  assert.deepEqual([owned.closed, owned.fd], [true, -1]);
  assert.deepEqual(await receiveFiles(other, 3), files);
  one.destroy();
  other.destroy();
});

test('keepOpen leaves a descriptor open, whatever it came as', async () => {
  const [one, other] = connected();
  const number = anonymousFile();
  using owned = new OwnedFd(anonymousFile());
  await using handle = await open('/dev/null');
  const all = [number, owned, { fd: number }, handle];
  const files = all.map((fh) => identity(typeof fh === 'number' ? fh : fh.fd));
  for (const fh of all) {
    await one.send(fh, { keepOpen: true });
    await new Promise<void>((resolve) => one.pushSendFh(fh, { keepOpen: true }, resolve));
  }
  assert.deepEqual(
    await receiveFiles(other, 8),
    files.flatMap((file) => [file, file]),
  );
  assert.deepEqual(
    all.map((fh) => identity(typeof fh === 'number' ? fh : fh.fd)),
    files,
  );
  closeSync(number);
  one.destroy();
  other.destroy();
});

test('a lent OwnedFd that its owner closes stays open until it was sent', async () => {
  for (const end of ['sent', 'dropped'] as const) {
    const [a, b] = socketpair();
    const passer = new FdPasser({ fh: [a, b] });
    const owned = new OwnedFd(anonymousFile());
    const { fd } = owned;
    const file = identity(fd);
    passer.pushSendFh(owned, { keepOpen: true });
    passer.pushSendFh(owned, { keepOpen: true });
    owned.close();
    assert.deepEqual([owned.closed, owned.fd], [true, -1]);
    assert.equal(identity(fd), file);
    if (end === 'sent') {
      const other = new FdPasser({ fh: passer.peer.dup() });
      passer.iAmParent();
      assert.deepEqual(await receiveFiles(other, 2), [file, file]);
      other.destroy();
    } else passer.destroy();
    await until(() => isClosed(fd));
    passer.destroy();
  }
});

function isClosed(fd: number): boolean {
  try {
    fstatSync(fd);
    return false;
  } catch {
    return true;
  }
}

test('take() and a new owner are refused while an OwnedFd is lent', async () => {
  const passer = new FdPasser();
  using owned = new OwnedFd(anonymousFile());
  const lent = passer.send(owned, { keepOpen: true });
  assert.throws(() => owned.take(), LENT);
  assert.throws(() => new OwnedFd(owned.fd), OWNED);
  passer.destroy();
  await assert.rejects(lent, { code: 'ERR_FDPASSER_CLOSED' });
  closeSync(owned.take());
});

test('the same number cannot be handed over twice', async () => {
  const [one, other] = connected();
  const fd = anonymousFile();
  const file = identity(fd);
  one.pushSendFh(fd);
  assert.throws(() => one.pushSendFh(fd), OWNED);
  assert.throws(() => one.pushSendFh({ fd }), OWNED);
  await assert.rejects(one.send(fd), OWNED);
  assert.throws(() => new OwnedFd(fd), OWNED);
  assert.deepEqual(await receiveFiles(other, 1), [file]);
  one.destroy();
  await assert.rejects(other.receive(), { code: 'ERR_FDPASSER_CLOSED' });
});

test('an OwnedFd cannot be handed over twice, but lent and then handed over', async () => {
  const [one, other] = connected();
  const owned = new OwnedFd(anonymousFile());
  const file = identity(owned.fd);
  one.pushSendFh(owned, { keepOpen: true });
  one.pushSendFh(owned);
  assert.throws(() => one.pushSendFh(owned), NOT_OWNED);
  assert.throws(() => one.pushSendFh(owned, { keepOpen: true }), NOT_OWNED);
  await assert.rejects(one.send(owned), NOT_OWNED);
  assert.throws(() => owned.take(), NOT_OWNED);
  assert.deepEqual(await receiveFiles(other, 2), [file, file]);
  one.destroy();
  await assert.rejects(other.receive(), { code: 'ERR_FDPASSER_CLOSED' });
});

test('a failed send gives its descriptor back to the caller, in the form in which it came', async () => {
  const passer = new FdPasser();
  const number = anonymousFile();
  const owned = new OwnedFd(anonymousFile());
  const { fd } = owned;
  const failed = [passer.send(number), passer.send(owned)];
  assert.deepEqual([owned.closed, owned.fd], [true, -1]);
  passer.destroy();
  for (const given of failed) await assert.rejects(given, { code: 'ERR_FDPASSER_CLOSED' });
  assert.deepEqual([owned.closed, owned.fd], [false, fd]);
  owned.close();
  const adopted = new OwnedFd(number);
  adopted.close();
  assert.throws(() => fstatSync(number), NOT_OPEN);
});

test('an OwnedFd closed by its owner while a send has it is closed when that fails', async () => {
  const passer = new FdPasser();
  const owned = new OwnedFd(anonymousFile());
  const { fd } = owned;
  const failed = passer.send(owned);
  owned.close();
  fstatSync(fd);
  passer.destroy();
  await assert.rejects(failed, { code: 'ERR_FDPASSER_CLOSED' });
  assert.throws(() => fstatSync(fd), NOT_OPEN);
  assert.equal(owned.closed, true);
});

// ---- aborting

test('a send aborted before it was sent gives back its descriptor, and the others go', async () => {
  const passer = new FdPasser();
  const before = pushFiles(passer, 2);
  const control = new AbortController();
  const number = anonymousFile();
  const owned = new OwnedFd(anonymousFile());
  using lent = new OwnedFd(anonymousFile());
  const aborted = [number, owned].map((fh) => passer.send(fh, { signal: control.signal }));
  aborted.push(passer.send(lent, { signal: control.signal, keepOpen: true }));
  const after = pushFiles(passer, 2);
  control.abort('changed my mind');
  for (const promise of aborted)
    await assert.rejects(promise, { name: 'AbortError', code: 'ABORT_ERR', cause: 'changed my mind' });
  closeSync(number);
  owned.close();
  const other = new FdPasser({ fh: passer.peer.dup() });
  passer.iAmParent();
  assert.deepEqual(await receiveFiles(other, 4), [...before, ...after]);
  passer.destroy();
  await assert.rejects(other.receive(), { code: 'ERR_FDPASSER_CLOSED' });
});

test('a signal aborted beforehand takes nothing over, and asks for nothing', async () => {
  const [one, other] = connected();
  const fd = anonymousFile();
  const signal = AbortSignal.abort();
  await assert.rejects(one.send(fd, { signal }), { name: 'AbortError' });
  closeSync(fd);
  await assert.rejects(other.receive({ signal }), { name: 'AbortError' });
  assert.deepEqual(pushFiles(one, 1), await receiveFiles(other, 1));
  one.destroy();
  other.destroy();
});

test('aborting a call that is already done changes nothing', async () => {
  const [one, other] = connected();
  const control = new AbortController();
  const fd = anonymousFile();
  const file = identity(fd);
  await one.send(fd, { signal: control.signal });
  using received = await other.receive({ signal: control.signal });
  control.abort();
  assert.equal(identity(received.fd), file);
  assert.deepEqual(pushFiles(one, 1), await receiveFiles(other, 1));
  one.destroy();
  other.destroy();
});

test('an aborted receive loses nothing: the next one gets the descriptor', async () => {
  const [one, other] = connected();
  const waiting = new AbortController();
  const early = other.receive({ signal: waiting.signal });
  const next = other.receive();
  waiting.abort('not now');
  await assert.rejects(early, { name: 'AbortError', code: 'ABORT_ERR', cause: 'not now' });
  const fds = [anonymousFile(), anonymousFile()] as const;
  const files = fds.map(identity);
  await one.send(fds[0]);
  await one.send(fds[1]);
  using first = await next;
  const control = new AbortController();
  const late = other.receive({ signal: control.signal });
  control.abort();
  await assert.rejects(late, { name: 'AbortError' });
  await turns();
  assert.deepEqual([identity(first.fd), ...(await receiveFiles(other, 1))], files);
  one.destroy();
  other.destroy();
});

// ---- OwnedFd

test('take() leaves the descriptor open and the OwnedFd without it', () => {
  const number = anonymousFile();
  const owned = new OwnedFd(number);
  assert.deepEqual([owned.fd, owned.closed], [number, false]);
  assert.equal(owned.take(), number);
  assert.deepEqual([owned.fd, owned.closed], [-1, true]);
  assert.throws(() => owned.take(), NOT_OWNED);
  assert.throws(() => owned.dup(), NOT_OWNED);
  assert.throws(() => owned.kind, NOT_OWNED);
  assert.throws(() => owned.listening, NOT_OWNED);
  owned.close();
  closeSync(number);
});

test('dup() is another descriptor of the same file, close-on-exec, with its own owner', () => {
  const owned = new OwnedFd(anonymousFile());
  const copy = owned.dup();
  assert.notEqual(copy.fd, owned.fd);
  assert.equal(identity(copy.fd), identity(owned.fd));
  assert.ok(flagsOf(copy.fd) & O_CLOEXEC);
  owned.close();
  fstatSync(copy.fd);
  copy.close();
});

test('close() closes once, under each of its names', () => {
  const number = anonymousFile();
  {
    using owned = new OwnedFd(number);
    owned.close();
    owned.close();
    assert.deepEqual([owned.fd, owned.closed], [-1, true]);
    assert.throws(() => fstatSync(number), NOT_OPEN);
  }
  const again = anonymousFile();
  {
    using owned = new OwnedFd(again);
    assert.equal(owned.fd, again);
  }
  assert.throws(() => fstatSync(again), NOT_OPEN);
});

test('received descriptors are close-on-exec', async () => {
  const [one, other] = connected();
  pushFiles(one, 1);
  using fd = await other.receive();
  assert.ok(flagsOf(fd.fd) & O_CLOEXEC);
  one.destroy();
  other.destroy();
});

test('an OwnedFd knows what it is and whether it listens', async () => {
  const passer = new FdPasser();
  const child = startPython(SEND_ONE_OF_EACH_KIND, passer.peer);
  passer.iAmParent();
  const end = ended(child);
  const found: string[] = [];
  for await (const fd of passer) {
    using owned = fd;
    found.push(`${owned.kind}${owned.listening ? ' listening' : ''}`);
  }
  const { code, signal, stdout, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  assert.deepEqual(found, stdout.trimEnd().split('\n'));
  const kinds: Kind[] = ['file', 'directory', 'fifo', 'tty', 'character-device', 'tcp', 'udp', 'unix-stream'];
  kinds.push('unix-dgram', 'unix-seqpacket', 'socket', 'anonymous');
  for (const kind of kinds) assert.ok(found.includes(kind), kind);
});

const SEND_ONE_OF_EACH_KIND = `
import os, pty, select, socket, tempfile
s = socket.socket(fileno=3)
s.setblocking(True)
def send(kind, thing):
    socket.send_fds(s, [b'\\0'], [thing if isinstance(thing, int) else thing.fileno()])
    print(kind)
def listening(family, name):
    made = socket.socket(family)
    made.bind(name)
    made.listen()
    return made
send('file', tempfile.TemporaryFile())
send('file', os.memfd_create('some'))
send('directory', os.open('/', os.O_RDONLY))
send('fifo', os.pipe()[0])
send('tty', pty.openpty()[1])
send('character-device', os.open('/dev/null', os.O_RDONLY))
send('tcp', socket.socket())
send('tcp listening', listening(socket.AF_INET, ('127.0.0.1', 0)))
send('udp', socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
send('unix-stream', socket.socket(socket.AF_UNIX))
send('unix-stream listening', listening(socket.AF_UNIX, ''))
send('unix-dgram', socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
send('unix-seqpacket', socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
send('socket', socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
send('anonymous', os.eventfd(0))
send('anonymous', select.epoll())
send('anonymous', os.pidfd_open(os.getpid()))
`;

test('a garbage-collected OwnedFd closes its descriptor, with a warning', async () => {
  const number = openSync('/dev/null', 'r');
  const warned = once(process, 'warning') as Promise<[Error]>;
  let seen: Error | undefined;
  void warned.then(([warning]) => (seen = warning));
  (() => new OwnedFd(number))();
  await collectUntil(() => seen !== undefined);
  assert.equal(seen!.name, 'FdPasserWarning');
  assert.match(seen!.message, new RegExp(`Descriptor ${number} was closed because .* garbage-collected\\..*"using"`));
  assert.throws(() => fstatSync(number), NOT_OPEN);
});

test('an OwnedFd that waits to be sent is not garbage', async () => {
  const passer = new FdPasser();
  const files = pushFiles(passer, 3);
  const lent = anonymousFile();
  files.push(identity(lent));
  passer.pushSendFh(new OwnedFd(lent), { keepOpen: true });
  await turns();
  let collected = false;
  const bystander = new FinalizationRegistry(() => (collected = true));
  (() => bystander.register({}, 0))();
  await collectUntil(() => collected);
  const other = new FdPasser({ fh: passer.peer.dup() });
  passer.iAmParent();
  assert.deepEqual(await receiveFiles(other, 4), files);
  await collectUntil(() => isClosed(lent)); // nobody has it any more
  passer.destroy();
  other.destroy();
});
