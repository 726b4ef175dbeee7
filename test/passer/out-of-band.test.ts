import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { FdPasser, FdStream, socketpair } from 'fdpasser';
import { ended, startPython } from '../support/child.js';
import { test } from '../support/test.js';

const SENDER = `
import socket
peer = socket.socket(fileno=3)
peer.send(b'!', socket.MSG_OOB)
peer.recv(1)
`;

const SENDS_ONE = "import socket; a, b = socket.socketpair(); a.send(b'!', socket.MSG_OOB)";
const { error, stderr } = spawnSync('python3', ['-c', SENDS_ONE], { encoding: 'utf8' });
const REFUSED = error === undefined && stderr.includes('Operation not supported');
const SKIP = REFUSED && 'this kernel sends no byte out of band: Linux 5.10';

test(
  'a byte out of band is read as any other, instead of waking the reader for ever',
  async () => {
    const [a, b] = socketpair();
    const child = startPython(SENDER, b);
    b.close();
    const whenEnded = ended(child);
    const stream = new FdStream(a);
    const whenClosed = once(stream, 'close');
    const [chunk] = (await once(stream, 'data')) as [Buffer];
    assert.equal(chunk.toString(), '!');
    stream.end('.');
    assert.deepEqual(await whenEnded, { code: 0, signal: null, stdout: '', stderr: '' });
    await whenClosed;
  },
  SKIP,
);

test(
  'a byte out of band breaks a passer, as any byte without a descriptor',
  async () => {
    const [a, b] = socketpair();
    const child = startPython(SENDER, b);
    b.close();
    const whenEnded = ended(child);
    await assert.rejects(new FdPasser({ fh: a }).receive(), { code: 'ERR_FDPASSER_PROTOCOL' });
    assert.equal((await whenEnded).code, 0);
  },
  SKIP,
);
