import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { FdChannel, socketpair } from 'fdpasser';
import { ended, startChild } from '../support/child.js';
import { until } from '../support/descriptors.js';
import type { Report, Takeover } from '../support/handoff.js';
import { test } from '../support/test.js';

type Channel = FdChannel<Takeover | Report>;

/** Runs `body` with a TCP client, the accepted socket, and a channel to a child that takes it over. */
async function handing(body: (client: Socket, accepted: Socket, channel: Channel) => Promise<void>): Promise<void> {
  const [ours, theirs] = socketpair();
  const child = startChild('descriptor/handoff', { peer: theirs });
  theirs.close();
  const end = ended(child);
  const channel: Channel = new FdChannel(ours);
  const server = createServer({ highWaterMark: 1 << 20 }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connectTcp((server.address() as AddressInfo).port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  server.close();
  await body(client, accepted, channel);
  client.destroy();
  await channel.close();
  const { code, signal, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
}

/** What the child must report of bytes. */
function expected(bytes: Buffer): Report {
  return { length: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

async function report(channel: Channel): Promise<Takeover | Report> {
  return (await channel.receive()).value;
}

/** Everything that the client receives, to the end. */
async function everything(client: Socket): Promise<Buffer> {
  return Buffer.concat((await client.toArray()) as Buffer[]);
}

/** Keeps the kernel's buffers full. */
async function feed(client: Socket, bytes: Buffer, piece: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += piece)
    if (!client.write(bytes.subarray(at, at + piece))) await once(client, 'drain');
  client.end();
}

test('a connection that is handed over during transfers loses no byte in either direction', async () => {
  await handing(async (client, accepted, channel) => {
    const bytes = randomBytes(8 << 20);
    const fed = feed(client, bytes, 10_007);
    const back = everything(client);
    accepted.write(Buffer.alloc(3 << 20, 'p'));
    const read: Buffer[] = [];
    // No timer is used: all might have been read by then.
    await new Promise<void>((resolve) => {
      accepted.on('data', (chunk: Buffer) => {
        if (read.push(chunk) === 20) resolve();
      });
    });
    await channel.send({ say: 1 << 20 }, [accepted]);
    const [, received] = await Promise.all([fed, back]);
    const before = Buffer.concat(read);
    assert.ok(before.equals(bytes.subarray(0, before.length)));
    assert.deepEqual(await report(channel), expected(bytes.subarray(before.length)));
    assert.deepEqual(expected(received), expected(Buffer.from('p'.repeat(3 << 20) + 'c'.repeat(1 << 20))));
  });
});

test('what was written to a connection while it was corked goes out before it is handed over', async () => {
  await handing(async (client, accepted, channel) => {
    accepted.cork();
    accepted.write('corked');
    accepted.cork();
    await channel.send({ say: 3 }, [accepted]);
    client.end();
    assert.equal((await everything(client)).toString(), 'corkedccc');
    assert.deepEqual(await report(channel), expected(Buffer.alloc(0)));
  });
});

test('bytes of every value that come one by one all arrive', async () => {
  await handing(async (client, accepted, channel) => {
    const bytes = Buffer.from(Array.from({ length: 1024 }, (_, i) => i % 256));
    client.setNoDelay();
    const dribbled = (async () => {
      for (const byte of bytes) {
        client.write(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.end();
    })();
    accepted.on('readable', () => {}); // reads, and leaves what it has read in the socket
    await until(() => accepted.readableLength > 100);
    await channel.send({}, [accepted]);
    await dribbled;
    assert.deepEqual(await report(channel), expected(bytes));
  });
});

test('more than 64 KiB that were read and not consumed travel with the connection, before later bytes', async () => {
  await handing(async (client, accepted, channel) => {
    const bytes = randomBytes(600_000);
    client.write(bytes.subarray(0, 500_000));
    accepted.on('readable', () => {});
    await until(() => accepted.readableLength > 65_536);
    assert.ok(accepted.readableLength > 65_536);
    await channel.send({}, [accepted]);
    client.end(bytes.subarray(500_000));
    assert.deepEqual(await report(channel), expected(bytes));
  });
});

test('an HTTP request cut in the middle of its headers is answered by the other process', async () => {
  await handing(async (client, accepted, channel) => {
    client.write('GET /half HTTP/1.1\r\nHos');
    accepted.on('readable', () => {});
    await until(() => accepted.readableLength > 0);
    await channel.send({ http: true }, [accepted]);
    client.write('t: there\r\nConnection: close\r\n\r\n');
    assert.match((await everything(client)).toString(), /\r\n\r\n.*\/half for there by the child/s);
  });
});

test('a WebSocket frame cut in two arrives whole', async () => {
  await handing(async (client, accepted, channel) => {
    const frame = Buffer.concat([Buffer.from([0x82, 126, 0x01, 0x00]), randomBytes(256)]);
    client.write(frame.subarray(0, 3)); // in the middle of its length
    accepted.on('readable', () => {});
    await until(() => accepted.readableLength === 3);
    await channel.send({}, [accepted]);
    client.end(frame.subarray(3));
    assert.deepEqual(await report(channel), expected(frame));
  });
});

test('a FIN before or during the handover ends the connection in the other process, after its bytes', async () => {
  for (const when of ['before', 'during'] as const)
    await handing(async (client, accepted, channel) => {
      const bytes = randomBytes(10_000);
      accepted.on('readable', () => {});
      client.write(bytes);
      await until(() => accepted.readableLength === bytes.length);
      if (when === 'before') client.end();
      const sent = channel.send({ say: 5 }, [accepted]);
      if (when === 'during') client.end();
      await sent;
      assert.deepEqual(await report(channel), expected(bytes));
      assert.equal((await everything(client)).toString(), 'ccccc');
    });
});

test('an RST during the handover is an error in the other process', async () => {
  await handing(async (client, accepted, channel) => {
    accepted.on('error', () => {});
    const sent = channel.send({}, [accepted]);
    client.resetAndDestroy();
    await sent;
    assert.deepEqual(await report(channel), { error: 'ECONNRESET' });
  });
});

test('a connection that cannot be handed over is read on here, from the byte where it was', async () => {
  await handing(async (client, accepted, channel) => {
    const bytes = randomBytes(100_000);
    client.write(bytes.subarray(0, 50_000));
    accepted.on('readable', () => {});
    await until(() => accepted.readableLength === 50_000);
    const control = new AbortController();
    const sent = channel.send({}, [accepted], { signal: control.signal });
    control.abort();
    await assert.rejects(sent, { name: 'AbortError' });
    client.end(bytes.subarray(50_000));
    accepted.removeAllListeners('readable');
    assert.deepEqual(expected(await everything(accepted)), expected(bytes));
    accepted.end();
  });
});
