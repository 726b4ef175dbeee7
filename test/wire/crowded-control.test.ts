import assert from 'node:assert/strict';
import { FdChannel, FdPasser, FdStream, socketpair, type OwnedFd } from 'fdpasser';
import { ended, startPython } from '../support/child.js';
import { anonymousFile, identity } from '../support/descriptors.js';
import { test } from '../support/test.js';

/**
 * Turns on the options that add control messages to those of a socket: SO_PASSCRED, SO_TIMESTAMP, SO_PASSSEC,
 * SO_TIMESTAMPNS, SO_TIMESTAMPING, SO_RXQ_OVFL, SO_RCVMARK, SO_PASSPIDFD and SO_INQ. Not every kernel has all of them.
 */
const SET = `
import socket, sys
s = socket.socket(fileno=3)
def put(value):
  for option in (16, 29, 34, 35, 37, 40, 75, 76, 84):
    try: s.setsockopt(socket.SOL_SOCKET, option, value * 0x1f8 if option == 37 else value)
    except OSError: pass
put(1)
print(flush=True)
`;

/** Turns them on and off until it is told to end. */
const TOGGLE = `${SET}
import threading
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()
while not over.is_set(): put(0); put(1)
`;

const FILES = 60;

type Wire = 'passer' | 'channel' | 'stream';

/** Sends the files, and then the end. */
async function send(wire: Wire, socket: OwnedFd, files: number[]): Promise<void> {
  if (wire === 'passer') {
    const passer = new FdPasser({ fh: socket, batch: 3 });
    for (const fd of files) passer.pushSendFh(fd);
    await passer.close();
  } else if (wire === 'channel') {
    const channel = new FdChannel(socket);
    for (const fd of files) await channel.send('a message', [fd]);
    await channel.close();
  } else {
    const stream = new FdStream(socket);
    for (const fd of files) {
      stream.write('plain bytes');
      stream.writeWithFds(Buffer.from('!'), [fd]);
    }
    stream.end();
  }
}

/** Receives until the peer ends in order. */
async function receive(wire: Wire, socket: OwnedFd): Promise<string[]> {
  const received: string[] = [];
  const take = (fds: OwnedFd[]): void => {
    for (const fd of fds) {
      received.push(identity(fd.fd));
      fd.close();
    }
  };
  if (wire === 'passer') for await (const fd of new FdPasser({ fh: socket })) take([fd]);
  else if (wire === 'channel') for await (const { fds } of new FdChannel(socket)) take(fds);
  else {
    const stream = new FdStream(socket).on('fds', take);
    for await (const _ of stream);
    stream.end();
  }
  return received;
}

for (const [wire, type] of [
  ['passer', 'stream'],
  ['passer', 'seqpacket'],
  ['channel', 'stream'],
  ['stream', 'stream'],
] as const)
  for (const when of ['before', 'after', 'meanwhile'])
    test(`control messages that another process turns on ${when} change nothing: ${wire}, ${type}`, async () => {
      const [ours, theirs] = socketpair({ type });
      const files = Array.from({ length: FILES }, anonymousFile);
      const sent = files.map(identity);
      const start = async (program: string) => {
        const child = startPython(program, shared);
        const end = ended(child);
        await new Promise((resolve) => child.stdout!.once('data', resolve));
        return async () => {
          child.stdin!.end();
          assert.deepEqual(await end, { code: 0, signal: null, stdout: '\n', stderr: '' });
        };
      };
      const shared = theirs.dup();
      let finish = when === 'before' ? await start(SET) : undefined;
      const receiving = receive(wire, theirs);
      finish ??= await start(when === 'after' ? SET : TOGGLE);
      const [received] = await Promise.all([receiving, send(wire, ours, files)]);
      await finish();
      shared.close();
      assert.deepEqual(received, sent);
    });
