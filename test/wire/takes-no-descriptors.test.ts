import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { FdChannel, FdStream, socketpair, type OwnedFd } from 'fdpasser';
import { encodeHello } from '#dist/channel/frames.js';
import { HELLO } from '../support/channels.js';
import { ended, startPython } from '../support/child.js';
import { anonymousFile, leftOpen, openDescriptors } from '../support/descriptors.js';
import { observed } from '../support/passing.js';
import { test } from '../support/test.js';

const REFUSED = { code: 'EPERM', syscall: 'sendmsg', message: /The peer refuses descriptors \(SO_PASSRIGHTS\)/ };

/** SO_PASSRIGHTS is new in Linux 6.16; the injected errors (`injected-errors`) show the same elsewhere. */
const PEER = `
import socket, sys
s = socket.socket(fileno=3)
try: s.setsockopt(socket.SOL_SOCKET, 83, 0)
except OSError: print('cannot', flush=True)
else:
    s.send(bytes.fromhex(first))
    print('ready', flush=True)
sys.stdin.read()
`;

/** Runs `body` with a peer that takes no descriptors and has sent these bytes, where the kernel has such peers. */
async function withPeer(first: Buffer, body: (socket: OwnedFd) => Promise<void>): Promise<void> {
  const [ours, theirs] = socketpair();
  const child = startPython(`first = '${first.toString('hex')}'\n${PEER}`, theirs);
  theirs.close();
  const end = ended(child);
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string];
  if (line === 'ready') await body(ours);
  else ours.close();
  child.stdin!.end();
  const { code, stderr } = await end;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
}

test('a channel refuses a message with descriptors to a peer that takes none, and goes on', () =>
  withPeer(encodeHello(HELLO), async (socket) => {
    const channel = new FdChannel(socket);
    const fds = [anonymousFile(), anonymousFile(), anonymousFile()] as const;
    const some = Array.from({ length: 300 }, anonymousFile);
    await Promise.all([
      channel.send('before'),
      assert.rejects(channel.send('one', [fds[0]]), REFUSED),
      channel.send('between'),
      assert.rejects(channel.send('two', [fds[1], fds[2]], { confirm: true }), REFUSED),
      assert.rejects(channel.send('many', some), REFUSED),
      channel.send('after'),
    ]);
    for (const fd of [...fds, ...some]) closeSync(fd); // still the sender's
    await channel.close();
  }));

test('a passer refuses each descriptor to such a peer, and goes on or, where nobody waits for it, breaks', () =>
  withPeer(Buffer.alloc(0), async (socket) => {
    const [passer, life] = observed({ fh: socket, batch: 4 });
    const fds = [1, 2, 3].map(() => anonymousFile());
    await Promise.all(fds.map((fd) => assert.rejects(passer.send(fd), REFUSED)));
    for (const fd of fds) closeSync(fd);
    assert.equal(life.closes, 0);
    passer.pushSendFh(anonymousFile());
    await life.over();
    assert.deepEqual(
      life.reports.map((error) => (error as NodeJS.ErrnoException).code),
      ['EPERM'],
    );
  }));

test('a stream to such a peer closes the descriptors and fails, when what the peer had sent was read', () =>
  withPeer(Buffer.from('from the peer'), async (socket) => {
    const before = openDescriptors();
    const stream = new FdStream(socket);
    let text = '';
    stream.on('data', (chunk) => (text += String(chunk)));
    const failed = new Promise((resolve) => stream.once('error', resolve));
    const written = new Promise((resolve) => stream.writeWithFds(Buffer.from('x'), [anonymousFile()], {}, resolve));
    await assert.rejects(
      written.then((error) => Promise.reject(error as Error)),
      REFUSED,
    );
    assert.equal(((await failed) as NodeJS.ErrnoException).code, 'EPERM');
    assert.equal(text, 'from the peer');
    assert.deepEqual(leftOpen(before), []);
  }));
