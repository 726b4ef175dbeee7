import assert from 'node:assert/strict';
import { fstatSync } from 'node:fs';
import { FdPasser, OwnedFd, socketpair } from 'fdpasser';
import { anonymousFile, identity } from '../support/descriptors.js';
import { connected, observed, pushFiles, receiveFiles, turns } from '../support/passing.js';
import { test } from '../support/test.js';

const OWNED = { code: 'ERR_FDPASSER_OWNED' };

test('a number that waits to be sent and closed cannot be lent: it could be another file by then', async () => {
  const [one, other] = connected();
  const fd = anonymousFile();
  const file = identity(fd);
  one.pushSendFh(fd);
  assert.throws(() => one.pushSendFh(fd, { keepOpen: true }), OWNED);
  await assert.rejects(one.send({ fd }, { keepOpen: true }), OWNED);
  assert.deepEqual(await receiveFiles(other, 1), [file]);
  one.destroy();
  other.destroy();
});

test('the number of an OwnedFd can be lent, also after a send gave it back', async () => {
  const [one, other] = connected();
  using owned = new OwnedFd(anonymousFile());
  const control = new AbortController();
  const sent = one.send(owned, { signal: control.signal });
  control.abort();
  await assert.rejects(sent, { name: 'AbortError' });
  await one.send(owned.fd, { keepOpen: true });
  assert.deepEqual(await receiveFiles(other, 1), [identity(owned.fd)]);
  one.destroy();
  other.destroy();
});

test('the standard streams of Node close their descriptors themselves, and are refused', () => {
  const [one, other] = connected();
  assert.throws(() => one.pushSendFh(process.stderr), { code: 'ERR_FDPASSER_MANAGED' });
  fstatSync(2);
  one.destroy();
  other.destroy();
});

test('a passer that could not send, closed with something unread, still reports why', async () => {
  const [a, b] = socketpair();
  const [passer, life] = observed({ fh: a });
  const peer = new FdPasser({ fh: b });
  await peer.send(anonymousFile());
  peer.destroy();
  pushFiles(passer, 1);
  await turns();
  await passer.close();
  await life.over();
  assert.equal(life.reports.length, 1);
  assert.match(String(life.reports[0]), /EPIPE|ECONNRESET/);
});
