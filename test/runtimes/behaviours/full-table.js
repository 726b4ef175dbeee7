// A child with a small descriptor table keeps it full while 400 descriptors come: it gets every one, in order.
import assert from 'node:assert/strict';
import { FdPasser } from 'fdpasser';
import { assertOrderly, ended, identity, newFile, startChild } from './support.js';

const files = Array.from({ length: 20 }, () => newFile());
const passer = new FdPasser();
const child = startChild('full-table', { peer: passer.peer.fd, limit: 96 });
passer.iAmParent();
const end = ended(child);
const sent = [];
for (let i = 0; i < 400; i++) {
  const fd = files[(i * i + (i >> 3)) % files.length];
  sent.push(identity(fd));
  passer.pushSendFh(fd, { keepOpen: true });
}
await passer.close();
const { received, exhausted, resumed } = JSON.parse(await assertOrderly(end));
assert.deepEqual(received, sent);
assert.ok(exhausted > 2, `exhausted ${exhausted} times`);
assert.equal(resumed, exhausted);
console.log(`400 in order through a table of 96, full ${exhausted} times`);
