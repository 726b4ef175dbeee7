import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { FdPasser, socketpair } from 'fdpasser';
import { RawPeer } from '../support/channels.js';
import { anonymousFile, identity } from '../support/descriptors.js';
import { turns } from '../support/passing.js';
import { test } from '../support/test.js';

const EMPTY = new Uint8Array(0);

/**
 * What a passer receives from a peer that sends packets and then ends. It asks first, or only when the peer has gone.
 */
async function receivedOf(send: (peer: RawPeer, fd: number) => void, asking: boolean): Promise<string[]> {
  const [a, b] = socketpair({ type: 'seqpacket' });
  const passer = new FdPasser({ fh: a });
  const received: string[] = [];
  const iterate = async (): Promise<void> => {
    for await (const fd of passer) {
      received.push(identity(fd.fd));
      fd.close();
    }
  };
  const early = asking ? iterate() : undefined;
  const peer = new RawPeer(b);
  const file = anonymousFile();
  send(peer, file);
  peer.close();
  await turns();
  await (early ?? iterate());
  const wanted = identity(file);
  closeSync(file);
  assert.ok(received.every((one) => one === wanted));
  return received;
}

for (const asking of [true, false]) {
  const when = asking ? 'asked for before' : 'asked for after';
  test(`descriptors behind an empty packet are not lost when the peer goes, ${when}`, async () => {
    const received = await receivedOf((peer, fd) => {
      peer.send(EMPTY);
      peer.send(EMPTY);
      peer.send(Buffer.alloc(1), [fd]);
    }, asking);
    assert.equal(received.length, 1);
  });

  test(`descriptors of a packet without bytes are not lost when the peer goes, ${when}`, async () => {
    const received = await receivedOf((peer, fd) => {
      peer.send(EMPTY, [fd, fd]);
      peer.send(EMPTY, [fd]);
    }, asking);
    assert.equal(received.length, 3);
  });
}
