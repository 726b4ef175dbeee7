import assert from 'node:assert/strict';
import { closeSync, fstatSync } from 'node:fs';
import { FdPasser, socketpair } from 'fdpasser';
import { anonymousFile, identity } from '../support/descriptors.js';
import { connected, observed, pushFiles, receiveFiles } from '../support/passing.js';
import { test } from '../support/test.js';

const BAD = { code: 'EBADF', syscall: 'sendmsg', message: /closed before it was sent/ };

for (const batch of [1, 4, 253]) {
  test(`only the send whose descriptor the kernel refuses is refused, with ${batch} a message`, async () => {
    const [one, other] = connected({ batch });
    const fds = Array.from({ length: 20 }, anonymousFile);
    const files = fds.map(identity);
    const bad = new Set([2, 3, 9, 19]);
    const sends = fds.map((fd) => one.send(fd));
    for (const i of bad) closeSync(fds[i]!);
    const received = receiveFiles(other, 16);
    for (const [i, send] of sends.entries())
      if (bad.has(i)) await assert.rejects(send, BAD);
      else await send;
    const expected = files.filter((_, i) => !bad.has(i));
    expected.push(...pushFiles(one, 10));
    assert.deepEqual([...(await received), ...(await receiveFiles(other, 10))], expected);
    one.destroy();
    other.destroy();
  });

  test(`a pushed descriptor that the kernel refuses breaks the passer, with ${batch} a message`, async () => {
    const [a, b] = socketpair();
    const [passer, life] = observed({ fh: a, batch });
    const other = new FdPasser({ fh: b });
    const files = pushFiles(passer, 5);
    const bad = anonymousFile();
    passer.pushSendFh(bad, { keepOpen: true }, assert.fail);
    const behind = anonymousFile();
    passer.pushSendFh(behind, assert.fail);
    const given = anonymousFile();
    const sending = passer.send(given);
    closeSync(bad);
    await assert.rejects(sending, BAD);
    assert.throws(() => fstatSync(behind), { code: 'EBADF' });
    closeSync(given);
    await life.over();
    assert.equal((life.reports[0] as NodeJS.ErrnoException).code, 'EBADF');
    assert.deepEqual([life.reports.length, life.closes], [1, 1]);
    assert.deepEqual(await receiveFiles(other, 5), files);
    await assert.rejects(other.receive(), { message: /the peer closed its end/ });
  });
}
