import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { FdChannel, FdPasser, FdStream, OwnedFd, socketpair } from 'fdpasser';
import { RawPeer, TYPES } from '../support/channels.js';
import { anonymousFile, identity, leftOpen, openDescriptors, until } from '../support/descriptors.js';
import { encodeMessage } from '../support/frames.js';
import { test } from '../support/test.js';

const GARBAGE = Buffer.from('\tgarbage.');

/** Something that can be iterated, and what its peer can do. */
interface Wire {
  iterated: AsyncIterable<unknown> & { destroy(): void };
  /** The reports of its end. */
  said: (Error | undefined)[];
  peer: RawPeer;
  /** Sends one item, with this file. */
  send: (fd: number) => void;
  /** The file of an item, which is closed. */
  fileOf: (item: unknown) => string;
}

function taken(fd: OwnedFd): string {
  using _ = fd;
  return identity(fd.fd);
}

const WIRES: Record<string, () => Wire> = {
  passer() {
    const [a, b] = socketpair();
    const [peer, said] = [new RawPeer(b), [] as Wire['said']];
    const iterated = new FdPasser({ fh: a, onError: (error) => said.push(error) });
    return {
      iterated,
      said,
      peer,
      send: (fd) => peer.send(Buffer.of(0), [fd]),
      fileOf: (item) => taken(item as OwnedFd),
    };
  },
};
for (const type of TYPES)
  WIRES[`${type} channel`] = () => {
    const [a, b] = socketpair({ type });
    const [peer, said] = [new RawPeer(b), [] as Wire['said']];
    const iterated = new FdChannel(a, { onError: (error) => said.push(error) });
    peer.hello();
    return {
      iterated,
      said,
      peer,
      send: (fd) => peer.send(encodeMessage(Buffer.from('1'), 1, false)[0]!.bytes, [fd]),
      fileOf: (item) => taken((item as { fds: OwnedFd[] }).fds[0]!),
    };
  };

for (const [name, make] of Object.entries(WIRES)) {
  test(`a loop over a ${name} that breaks while its body is busy throws the error that broke it, after what came before`, async () => {
    for (const waiting of name === 'passer' ? [0] : [0, 1, 5]) {
      const { iterated, said, peer, send, fileOf } = make();
      const fds = Array.from({ length: waiting + 1 }, anonymousFile);
      send(fds[0]!);
      const files: string[] = [];
      const loop = (async () => {
        for await (const item of iterated) {
          files.push(fileOf(item));
          if (files.length > 1) continue;
          for (const fd of fds.slice(1)) send(fd);
          peer.send(GARBAGE);
          if (name === 'passer') await turn();
          else await until(() => said.length > 0);
        }
      })();
      await assert.rejects(loop, (error) => {
        assert.equal((error as NodeJS.ErrnoException).code, 'ERR_FDPASSER_PROTOCOL');
        assert.deepEqual(said.length === 0 ? [error] : said, [error]);
        return true;
      });
      assert.deepEqual(files, fds.map(identity));
      await turn();
      assert.equal(said.length, 1);
      for (const fd of fds) closeSync(fd);
      peer.close();
    }
  });
}

test('a loop that begins when a channel has broken gets what came before and throws the error that broke it', async () => {
  const { iterated, said, peer, send, fileOf } = WIRES['stream channel']!();
  const fd = anonymousFile();
  send(fd);
  peer.send(GARBAGE);
  await until(() => said.length > 0);
  const files: string[] = [];
  for (let i = 0; i < 2; i++)
    await assert.rejects(
      async () => {
        for await (const item of iterated) files.push(fileOf(item));
      },
      (error) => error === said[0],
    );
  assert.deepEqual(files, [identity(fd)]);
  assert.equal(said.length, 1);
  closeSync(fd);
  peer.close();
});

test('messages that wait in a broken channel are closed with it, and the error is reported once', async () => {
  for (const way of ['destroy', 'close'] as const) {
    const { iterated, said, peer, send } = WIRES['stream channel']!();
    const fd = anonymousFile();
    const before = openDescriptors();
    send(fd);
    send(fd);
    peer.send(GARBAGE);
    await until(() => said.length > 0);
    const closed = (iterated as unknown as FdChannel)[way]();
    if (way === 'close') await closed;
    await turn();
    assert.equal(said.length, 1);
    assert.deepEqual(
      leftOpen(before).filter((one) => one.includes('/tmp')),
      [],
    );
    closeSync(fd);
    peer.close();
  }
});

test('a loop that is left, or whose channel is closed or ends in order, throws nothing', async () => {
  const ends: ((wire: Wire) => unknown)[] = [
    ({ iterated }) => iterated.destroy(),
    ({ iterated }) => (iterated as unknown as FdChannel).close(),
    ({ peer }) => peer.close(),
  ];
  for (const end of ends) {
    const wire = WIRES['stream channel']!();
    const fd = anonymousFile();
    wire.send(fd);
    for await (const item of wire.iterated) {
      wire.fileOf(item);
      end(wire);
      await turn();
    }
    closeSync(fd);
    wire.peer.close();
  }
});

test('a loop over a stream that breaks while its body is busy throws the error that broke it, after what came before', async () => {
  const [a, b] = socketpair();
  const stream = new FdStream(a);
  const peer = new RawPeer(b);
  stream.write('not read');
  await turn();
  peer.send(Buffer.from('first'));
  let text = '';
  await assert.rejects(
    async () => {
      for await (const chunk of stream) {
        text += String(chunk);
        if (text !== 'first') continue;
        peer.send(Buffer.from(' and second'));
        peer.close();
        stream.write('too late', () => {});
        for (let i = 0; i < 10; i++) await turn();
      }
    },
    { code: /^(EPIPE|ECONNRESET)$/ },
  );
  assert.equal(text, 'first and second');
});
