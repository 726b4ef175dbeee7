import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { FdPasser, OwnedFd, socketpair } from 'fdpasser';
import { ended } from '../support/child.js';
import { anonymousFile, inFolder, until } from '../support/descriptors.js';
import { leaveOut, needs } from '../support/needs.js';
import { test } from '../support/test.js';

const program = fileURLToPath(new URL('../../../test/support/slow-to-close.py', import.meta.url));

/** A peer that passes `count` descriptors that are slow to close. */
async function slowPeer(kind: string, count: number) {
  needs('unshare', 'python3');
  const [ours, theirs] = socketpair();
  const python = spawn('unshare', ['--mount', 'python3', program, kind, `${count}`], {
    stdio: ['pipe', 'pipe', 'pipe', theirs.fd],
  });
  theirs.close();
  const end = ended(python);
  const lines: string[] = [];
  python.stdout!.on('data', (chunk: Buffer) => lines.push(...String(chunk).split('\n')));
  await until(() => lines.includes('ready') || python.exitCode !== null);
  if (!lines.includes('ready')) {
    ours.close();
    const why = (await end).stderr.trim().split('\n').at(-1);
    leaveOut(`the privileges to make what is slow to close: ${kind}: ${why}`);
  }
  return {
    passer: new FdPasser({ fh: ours }),
    async send(): Promise<void> {
      python.stdin!.write('\n');
      await until(() => lines.includes('sent'));
    },
    async over(): Promise<void> {
      python.stdin!.end();
      const { code, signal, stderr } = await end;
      assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    },
  };
}

/** An honest peer passes descriptors and ends, undisturbed by the hostile peer. */
async function isServed(): Promise<void> {
  const [ours, theirs] = socketpair();
  await using passer = new FdPasser({ fh: ours });
  const peer = new FdPasser({ fh: theirs });
  for (let i = 0; i < 50; i++) peer.pushSendFh(anonymousFile());
  for (let i = 0; i < 50; i++) (await passer.receive()).close();
  const [a, b] = socketpair();
  const end = new FdPasser({ fh: b });
  peer.pushSendFh(a);
  (await passer.receive()).close();
  await assert.rejects(end.receive(), { code: 'ERR_FDPASSER_CLOSED' });
  await peer.close();
}

for (const kind of ['linger', 'nested', 'packet', 'inotify'])
  test(`a descriptor of ${kind} from a peer is closed at once for its owner, and delays no other peer`, async () => {
    const peer = await slowPeer(kind, 20);
    await peer.send();
    for (let i = 0; i < 20; i++) (await peer.passer.receive()).close();
    await isServed();
    peer.passer.destroy();
    await peer.over();
  });

test('a fifo whose file system does not answer is refused where Node would ask it, and the loop goes on', async () => {
  const peer = await slowPeer('fuse-fifo', 1);
  await peer.send();
  {
    using fd = await peer.passer.receive();
    assert.equal(fd.kind, 'fifo');
    assert.throws(() => fd.toSocket(), { code: 'ERR_FDPASSER_WRONG_KIND', message: /file system of type/ });
    assert.equal(fd.closed, false);
  }
  await isServed();
  peer.passer.destroy();
  await peer.over();
});

test('a fifo made with mkfifo becomes a connection', async () => {
  await inFolder(async (folder) => {
    execFileSync('mkfifo', [`${folder}/fifo`]);
    const socket = new OwnedFd(openSync(`${folder}/fifo`, 'r+')).toSocket();
    socket.write('text');
    assert.equal(String((await once(socket, 'data'))[0]), 'text');
    socket.destroy();
    await once(socket, 'close');
  });
});

test('a file whose file system does not answer is recognised, and its closes delay no other peer', async () => {
  const peer = await slowPeer('fuse', 40);
  await peer.send();
  let taken = 0;
  const taking = (async () => {
    for (; taken < 40; taken++) {
      using fd: OwnedFd = await peer.passer.receive();
      assert.equal(fd.kind, 'file');
      assert.equal(fd.listening, false);
      assert.throws(() => fd.toSocket(), { code: 'ERR_FDPASSER_WRONG_KIND' });
    }
  })();
  await until(() => taken >= 16);
  await isServed();
  assert.ok(taken < 40, 'all were taken, though none can be closed');
  await peer.over();
  await taking;
  peer.passer.destroy();
});
