import assert from 'node:assert/strict';
import { openSync, writeFileSync } from 'node:fs';
import { FdPasser } from 'fdpasser';
import { amount } from '../support/amount.js';
import { ended, message, startChild } from '../support/child.js';
import { identity, inFolder } from '../support/descriptors.js';
import { turns } from '../support/passing.js';
import { test } from '../support/test.js';

const COUNT = amount(10_000, 1000);
/** How many are sent before each pause: fewer than the kernel queues, about as many, and far more. */
const BURSTS = [1, 2, 17, 64, 100, 278, 1500];

for (const batch of [1, 16])
  for (const asking of ['at once', 'one by one'])
    test(`${COUNT} files arrive in the order sent, ${batch} a message, asked for ${asking}`, async () => {
      await inFolder(async (folder) => {
        // All of them exist throughout, so that no inode is used twice.
        for (let i = 0; i < COUNT; i++) writeFileSync(`${folder}/${i}`, '');
        const passer = new FdPasser({ batch });
        const child = startChild('passer/collector', { args: [String(COUNT), asking], peer: passer.peer });
        passer.iAmParent();
        const end = ended(child);
        const received = message<string[]>(child);
        const sent: string[] = [];
        for (let burst = 0; sent.length < COUNT; burst++) {
          const until = Math.min(COUNT, sent.length + BURSTS[burst % BURSTS.length]!);
          while (sent.length < until) {
            const fd = openSync(`${folder}/${sent.length}`, 'r');
            sent.push(identity(fd));
            if (sent.length < until) passer.pushSendFh(fd);
            else if (burst % 3 === 0) await passer.send(fd);
            else void passer.send(fd);
          }
          if (burst % 2 === 0) await turns();
        }
        assert.equal(new Set(sent).size, COUNT);
        assert.deepEqual(await received, sent);
        await passer.close();
        const { code, signal, stderr } = await end;
        assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
      });
    });
