import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { FdChannel, FdPasser, FdStream, sendDatagram, socketpair, type OwnedFd } from 'fdpasser';
import { channels } from '../support/channels.js';
import { inFolder, until } from '../support/descriptors.js';
import { test } from '../support/test.js';

const UNREAD = { code: 'ERR_FDPASSER_UNREAD' };

/** Runs `body` with a Unix connection that was handed over after 'read, ' was read of it, and its client. */
async function handedOver(body: (fd: OwnedFd, client: Socket) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    const server = createServer().listen(`${folder}/socket`);
    await once(server, 'listening');
    const client = connect(`${folder}/socket`);
    const [accepted] = (await once(server, 'connection')) as [Socket];
    server.close();
    client.write('read, ');
    accepted.on('readable', () => {});
    await until(() => accepted.readableLength > 0);
    const [one, other] = channels();
    await one.send(undefined, [accepted]);
    const { fds } = await other.receive();
    await body(fds[0]!, client);
    await Promise.all([one.close(), other.close()]);
  });
}

test('a stream over a connection that was handed over begins with what its sender had read', async () => {
  await handedOver(async (fd, client) => {
    const stream = new FdStream(fd);
    client.end('and not read');
    assert.equal(Buffer.concat((await stream.toArray()) as Buffer[]).toString(), 'read, and not read');
  });
});

test('a passer and a channel refuse a connection whose first bytes they would miss, and leave it as it is', async () => {
  await handedOver(async (fd, client) => {
    for (const make of [() => new FdPasser({ fh: fd }), () => new FdChannel(fd)])
      assert.throws(make, { code: 'ERR_FDPASSER_UNREAD', message: /had read 6 bytes from it/ });
    client.end();
    assert.equal((await fd.toSocket().toArray()).join(''), 'read, ');
  });
});

for (const keepOpen of [false, true])
  test(`bytes that its sender had read go with a connection over the next channel, ${keepOpen ? 'lent' : 'handed over'}`, async () => {
    await handedOver(async (fd, client) => {
      const [one, other] = channels();
      await one.send(undefined, [fd], { keepOpen });
      const { fds } = await other.receive();
      client.end('and not read');
      assert.equal((await fds[0]!.toSocket().toArray()).join(''), 'read, and not read');
      fd.close();
      await Promise.all([one.close(), other.close()]);
    });
  });

test('a wire without room for bytes already read refuses such a connection, lent or not, and its duplicate', async () => {
  await handedOver(async (fd, client) => {
    const copy = fd.dup();
    assert.equal(String(copy.unread), 'read, ');
    const [a, b] = socketpair();
    const [c, d] = socketpair();
    const [passer, stream] = [new FdPasser({ fh: a }), new FdStream(c)];
    for (const fh of [fd, copy])
      for (const keepOpen of [false, true]) {
        await assert.rejects(passer.send(fh, { keepOpen }), UNREAD);
        assert.throws(() => passer.pushSendFh(fh, { keepOpen }), UNREAD);
        assert.throws(() => stream.writeWithFds(Buffer.of(1), [fh], { keepOpen }), UNREAD);
        await assert.rejects(sendDatagram('/nowhere', Buffer.of(1), [fh], { keepOpen }), UNREAD);
      }
    copy.close();
    client.end();
    assert.equal((await fd.toSocket().toArray()).join(''), 'read, ');
    passer.destroy();
    stream.destroy();
    b.close();
    d.close();
  });
});
