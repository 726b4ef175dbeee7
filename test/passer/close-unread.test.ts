import assert from 'node:assert/strict';
import { FdPasser, socketpair } from 'fdpasser';
import { anonymousFile } from '../support/descriptors.js';
import { TOO_MANY, observed, pushFiles, turns } from '../support/passing.js';
import { test } from '../support/test.js';

const GONE = /EPIPE|ECONNRESET/;

test('close() resolves when the peer ends before it got everything, and left something unread', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const peer = new FdPasser({ fh: b });
  await peer.send(anonymousFile());
  pushFiles(passer, TOO_MANY);
  const closed = passer.close();
  await turns();
  peer.destroy();
  await Promise.all([closed, life.over()]);
  assert.equal(life.reports.length, 1);
  assert.match(String(life.reports[0]), GONE);
});
