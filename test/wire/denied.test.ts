import assert from 'node:assert/strict';
import { FdChannel, FdPasser, FdStream, socketpair, type OwnedFd } from 'fdpasser';
import type { Report } from './children/denied.js';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile, closeAll, identity } from '../support/descriptors.js';
import { test } from '../support/test.js';

/** Sends each file in a message of its own, and returns how to end. */
const SEND = {
  passer(socket: OwnedFd, files: number[]) {
    const passer = new FdPasser({ fh: socket, onError() {} });
    for (const fd of files) passer.pushSendFh(fd, { keepOpen: true });
    return passer;
  },
  channel(socket: OwnedFd, files: number[]) {
    const channel = new FdChannel(socket).on('error', () => {});
    // One after the other, because several messages may travel in one of the kernel's.
    void (async () => {
      for (const fd of files) await channel.send('a message', [fd], { keepOpen: true });
    })().catch(() => {});
    return channel;
  },
  stream(socket: OwnedFd, files: number[]) {
    const stream = new FdStream(socket).on('error', () => {});
    for (const fd of files) stream.writeWithFds(Buffer.from('bytes'), [fd], { keepOpen: true });
    return stream;
  },
};

/** Systems that cannot peek report only that something is lost. */
const SIZES = process.env['FDPASSER_PEEK'] === 'off' ? [] : [128, 4096];

for (const descriptors of SIZES)
  for (const wire of ['passer', 'channel', 'stream'] as const)
    test(`a descriptor that a security policy denies breaks a ${wire}, in a table of ${descriptors} slots`, async () => {
      const files = Array.from({ length: 5 }, anonymousFile);
      const [ours, theirs] = socketpair();
      const child = startChild('wire/denied', {
        peer: theirs,
        args: [wire],
        descriptors,
        env: {
          LD_PRELOAD: `${process.env['LD_PRELOAD']}:${process.cwd()}/build/deny.so`,
          DENIED: identity(files[3]!),
        },
      });
      theirs.close();
      const end = ended(child);
      const sender = SEND[wire](ours, files);
      const report = await message<Report>(child);
      assert.deepEqual(await end, { code: 0, signal: null, stdout: '', stderr: '' });
      sender.destroy();
      assert.deepEqual(report, {
        received: files.slice(0, 3).map(identity),
        exhausted: 0,
        code: 'ERR_FDPASSER_DENIED',
      } satisfies Report);
      closeAll(files);
    });
