import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { type FdLike } from 'fdpasser';
import { channelAndPeer } from '../support/channels.js';
import { leftOpen, openDescriptors } from '../support/descriptors.js';
import { test } from '../support/test.js';

async function listening(server: Server): Promise<AddressInfo> {
  if (!server.listening) await once(server, 'listening');
  return server.address() as AddressInfo;
}

/** Queues the object, opens it again while it waits, and lets the queue go on. */
async function sendMeanwhile(object: FdLike, keepOpen: boolean, openAnew: () => Promise<void>): Promise<void> {
  const [channel, peer] = channelAndPeer();
  const sending = channel.send(1, [object], { keepOpen });
  const outcome = assert.rejects(sending, { code: 'ERR_FDPASSER_NOT_OPEN' });
  await openAnew();
  peer.hello(); // before that nothing departs
  await outcome;
  assert.deepEqual(peer.fds, []);
  peer.close();
  channel.destroy();
}

for (const keepOpen of [false, true]) {
  const how = keepOpen ? ' with keepOpen' : '';

  test(`a server that is closed and listens again while it waits to be sent${how} is refused, and goes on listening`, async () => {
    const before = openDescriptors();
    const server = createServer((socket) => socket.end('here')).listen(0, '127.0.0.1');
    await listening(server);
    await sendMeanwhile(server, keepOpen, async () => {
      server.close();
      server.listen(0, '127.0.0.1');
      await listening(server);
    });
    const { port } = await listening(server);
    const client = connect(port, '127.0.0.1');
    const [data] = (await once(client, 'data')) as [Buffer];
    assert.equal(data.toString(), 'here');
    client.destroy();
    server.close();
    await once(server, 'close');
    assert.deepEqual(leftOpen(before), []);
  });

  test(`a connection that is destroyed and connects again while it waits to be sent${how} is refused, and goes on`, async () => {
    const before = openDescriptors();
    const accepted: Socket[] = [];
    const server = createServer((socket) => void accepted.push(socket.resume())).listen(0, '127.0.0.1');
    const { port } = await listening(server);
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    await sendMeanwhile(socket, keepOpen, async () => {
      socket.destroy();
      await once(socket, 'close');
      socket.connect(port, '127.0.0.1');
      await once(socket, 'connect');
    });
    while (accepted.length < 2) await once(server, 'connection');
    accepted[1]!.write('here');
    const [data] = (await once(socket, 'data')) as [Buffer];
    assert.equal(data.toString(), 'here');
    socket.destroy();
    for (const one of accepted) one.destroy();
    server.close();
    await once(server, 'close');
    assert.deepEqual(leftOpen(before), []);
  });
}
