import assert from 'node:assert/strict';
import { once } from 'node:events';
import { FdChannel, FdPasser, FdStream, listen, socketpair } from 'fdpasser';
import { ended, startPython } from '../support/child.js';
import { inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** Sends connections whose last close takes a minute: SO_LINGER is on, and the other end reads nothing. */
const sender = (peer: string, bytes: number): string => `
import socket, struct, sys
peer = ${peer}
server = socket.create_server(('127.0.0.1', 0))
connections, unread = [], []
for _ in range(2):
    connection = socket.create_connection(server.getsockname())
    unread.append(server.accept()[0])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 60))
    connection.setblocking(False)
    connections.append(connection)
    try:
        while True: connection.send(bytes(65536))
    except BlockingIOError:
        pass
${bytes === 0 ? 'peer.send(b"")' : ''}
socket.send_fds(peer, [bytes(${bytes})], [connection.fileno() for connection in connections])
for connection in connections: connection.close()
print('sent', flush=True)
sys.stdin.read()
`;

/** Milliseconds: far less than the minute, far more than anything else takes. */
const LONG = 20_000;

/** Runs `close` after the connections were sent, and asserts that it did not stop the event loop. */
async function doesNotStop(
  socket: { readonly fd: number },
  peer: string,
  close: () => unknown,
  bytes = 1,
): Promise<void> {
  const child = startPython(sender(peer, bytes), socket);
  const whenEnded = ended(child);
  await once(child.stdout!, 'data');
  const began = performance.now();
  await close();
  await new Promise((resolve) => setImmediate(resolve));
  const took = performance.now() - began;
  child.stdin!.end();
  assert.deepEqual(await whenEnded, { code: 0, signal: null, stdout: 'sent\n', stderr: '' });
  assert.ok(took < LONG, `it took ${took} ms`);
}

const INHERITED = 'socket.socket(fileno=3)';

test('closing a received connection that lingers does not stop the event loop', async () => {
  const [a, b] = socketpair();
  const passer = new FdPasser({ fh: a });
  await doesNotStop(b, INHERITED, async () => {
    b.close();
    for (const fd of [await passer.receive(), await passer.receive()]) fd.close();
  });
  passer.destroy();
});

test('a stream that nobody listens to for descriptors does not stop the event loop when it closes one that lingers', async () => {
  const [a, b] = socketpair();
  const stream = new FdStream(a);
  const whenClosed = once(stream, 'close');
  await doesNotStop(b, INHERITED, async () => {
    b.close();
    await once(stream, 'data');
  });
  await whenClosed;
});

test('a channel whose peer breaks the protocol does not stop the event loop when it closes lingering connections', async () => {
  const [a, b] = socketpair();
  await doesNotStop(b, INHERITED, async () => {
    b.close();
    // Made only now, because a channel receives by itself, and the sender's close must not be the last.
    const channel = new FdChannel(a);
    await new Promise<void>((resolve) => channel.once('close', resolve));
  });
});

for (const type of ['stream', 'seqpacket'] as const)
  test(`the end of a ${type} passer does not stop the event loop when connections that linger are unread`, async () => {
    const [a, b] = socketpair({ type });
    const passer = new FdPasser({ fh: a });
    await doesNotStop(b, INHERITED, () => {
      b.close();
      passer.destroy();
    });
  });

test('the end of a passer does not stop the event loop when connections that linger are in a packet without bytes', async () => {
  const [a, b] = socketpair({ type: 'seqpacket' });
  const passer = new FdPasser({ fh: a });
  const close = (): void => {
    b.close();
    passer.destroy();
  };
  await doesNotStop(b, INHERITED, close, 0);
});

test('the close of a server does not stop the event loop when connections that linger are in its backlog', async () => {
  await inFolder(async (folder) => {
    const server = listen(`${folder}/socket`);
    const [unused, theirs] = socketpair();
    unused.close();
    const connected = `socket.socket(socket.AF_UNIX); peer.connect('${server.path}')`;
    await doesNotStop(theirs, connected, () => server.close());
    theirs.close();
  });
});
