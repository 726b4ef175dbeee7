import assert from 'node:assert/strict';
import { closeSync, fstatSync } from 'node:fs';
import { FdPasser, socketpair, type OwnedFd } from 'fdpasser';
import { amount } from '../support/amount.js';
import { ended, message, startChild } from '../support/child.js';
import { anonymousFile } from '../support/descriptors.js';
import { partly } from '../support/test.js';

const FILES = 500;
const COUNT = amount(50_000, 4000);

for (const type of ['stream', 'seqpacket'] as const)
  partly(type === 'stream')(
    `a receiver on a ${type} socket is not disturbed by another process that closes copies of it`,
    async () => {
      const [a, b] = socketpair({ type });
      const child = startChild('passer/close-copies', { peer: b });
      const whenEnded = ended(child);
      await message(child);
      const sender = new FdPasser({ fh: a });
      const receiver = new FdPasser({ fh: b });
      const files = Array.from({ length: FILES }, anonymousFile);
      const inodes = files.map((fd) => fstatSync(fd).ino);
      for (let i = 0; i < COUNT; i++) sender.pushSendFh(files[i % FILES]!, { keepOpen: true });
      const wrong = await new Promise<number>((resolve) => {
        let received = 0;
        let misplaced = 0;
        const next = (fd: OwnedFd): void => {
          if (fstatSync(fd.fd).ino !== inodes[received % FILES]) misplaced++;
          fd.close();
          if (++received === COUNT) resolve(misplaced);
        };
        for (let i = 0; i < COUNT; i++) receiver.pushRecvFh(next);
      });
      child.send('enough');
      assert.deepEqual(await whenEnded, { code: 0, signal: null, stdout: '', stderr: '' });
      assert.equal(wrong, 0);
      sender.destroy();
      receiver.destroy();
      for (const fd of files) closeSync(fd);
    },
  );
