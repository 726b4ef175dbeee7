import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { FdChannel, FdStream, socketpair, type OwnedFd, type SocketType } from 'fdpasser';
import { encodeHello } from '#dist/channel/frames.js';
import { HELLO, TYPES } from '../support/channels.js';
import { ended, startPython } from '../support/child.js';
import { anonymousFile, identity, until } from '../support/descriptors.js';
import { encodeMessage } from '../support/frames.js';
import { observed, receiveFiles } from '../support/passing.js';
import { noteFiles } from '../support/stream.js';
import { test } from '../support/test.js';

const DEAF = { code: 'EPIPE', syscall: 'sendmsg' };

function assertDeaf(errors: readonly (Error | undefined)[]): void {
  assert.deepEqual(
    errors.map((error) => error?.message),
    ['EPIPE: broken pipe, sendmsg. The peer has closed its end, or has gone'],
  );
}

interface Deaf {
  child: ChildProcess;
  socket: OwnedFd;
  /** The files it has sent. */
  files: string[];
}

/**
 * Runs `body` with a process at the other end of a socket. The process has sent these bytes, a file with each except
 * those without descriptors, and then shut down its reading (SHUT_RD). It stays alive.
 */
async function withDeafPeer(
  type: SocketType,
  sends: readonly { bytes: Buffer; file: boolean }[],
  body: (deaf: Deaf) => Promise<void>,
): Promise<void> {
  const [ours, theirs] = socketpair({ type });
  const list = sends.map(({ bytes, file }) => `('${bytes.toString('hex')}', ${file ? 1 : 0})`);
  const child = startPython(`sends = [${list.join(', ')}]\n${SEND_AND_STOP_READING}`, theirs);
  theirs.close();
  const end = ended(child);
  const lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
  const files: string[] = [];
  for (let line = await lines.next(); line.value !== 'deaf'; line = await lines.next())
    files.push(line.value as string);
  await body({ child, socket: ours, files });
  assert.equal(child.exitCode, null);
  child.stdin!.end();
  const { code, stderr } = await end;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
}

const SEND_AND_STOP_READING = `
import os, socket, sys, tempfile
s = socket.socket(fileno=3)
for text, count in sends:
    with tempfile.TemporaryFile() as file:
        socket.send_fds(s, [bytes.fromhex(text)], [file.fileno()] * count)
        stat = os.fstat(file.fileno())
        if count: print(f'{stat.st_dev}:{stat.st_ino}')
s.shutdown(socket.SHUT_RD)
print('deaf', flush=True)
sys.stdin.read()
`;

const THREE_FILES = Array.from({ length: 3 }, () => ({ bytes: Buffer.alloc(1), file: true }));

for (const type of ['stream', 'seqpacket'] as const) {
  test(`a passer whose peer lives but shuts down its reading ends after what it was sent, over a ${type} socket`, () =>
    withDeafPeer(type, THREE_FILES, async ({ socket, files }) => {
      const [passer, life] = observed({ fh: socket });
      const fd = anonymousFile();
      const refused = assert.rejects(passer.send(fd), DEAF);
      const received = receiveFiles(passer, 3);
      assert.deepEqual(await received, files);
      await refused;
      closeSync(fd);
      await life.over();
      assertDeaf(life.reports);
      assert.equal(life.closes, 1);
    }));

  test(`a passer that is asked only after its peer shut down its reading ends after what it was sent, over a ${type} socket`, () =>
    withDeafPeer(type, THREE_FILES, async ({ socket, files }) => {
      const [passer, life] = observed({ fh: socket });
      const fd = anonymousFile();
      await assert.rejects(passer.send(fd), DEAF);
      closeSync(fd);
      assert.equal(life.closes, 0);
      assert.deepEqual(await receiveFiles(passer, 3), files);
      await assert.rejects(passer.receive());
      await life.over();
      assertDeaf(life.reports);
      assert.equal(life.closes, 1);
    }));
}

test('a stream whose peer lives and takes nothing more fails after what it was sent, and so does what was written', () =>
  withDeafPeer('stream', [{ bytes: Buffer.from('said before'), file: true }], async ({ socket, files }) => {
    const stream = new FdStream(socket);
    const arrived = noteFiles(stream);
    let text = '';
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const failed = once(stream, 'error') as Promise<[NodeJS.ErrnoException]>;
    const written = new Promise((called) => stream.writeWithFds(Buffer.from('x'), [anonymousFile()], {}, called));
    const [error] = await failed;
    assertDeaf([error]);
    assert.equal(await written, error);
    assert.equal(text, 'said before');
    assert.deepEqual(
      arrived.map(({ id }) => id),
      files,
    );
  }));

for (const type of TYPES) {
  const [message] = encodeMessage(Buffer.from('"said before"'), 1, false);
  const sends = [
    { bytes: encodeHello(HELLO), file: false },
    { bytes: message!.bytes, file: true },
  ];

  for (const sending of [false, true])
    test(`a channel whose peer lives and takes nothing more ends after what it was sent, ${sending ? 'and has an error: a send' : 'in order'}, over a ${type} socket`, () =>
      withDeafPeer(type, sends, async ({ socket, files }) => {
        const said: (Error | undefined)[] = [];
        const channel = new FdChannel<string>(socket, { onError: (error) => said.push(error) });
        const fd = anonymousFile();
        const refused = sending ? assert.rejects(channel.send('x', [fd], { confirm: true }), DEAF) : undefined;
        using received = await channel.receive();
        assert.equal(received.value, 'said before');
        assert.deepEqual(
          received.fds.map(({ fd }) => identity(fd)),
          files,
        );
        await refused;
        closeSync(fd);
        await until(() => said.length > 0);
        if (sending) assertDeaf(said);
        else assert.deepEqual(said, [undefined]);
      }));
}
