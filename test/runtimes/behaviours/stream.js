// Bytes and descriptors go to a child over an FdStream and come back, in order.
import assert from 'node:assert/strict';
import { FdStream, socketpair } from 'fdpasser';
import { assertOrderly, ended, identity, newFile, startChild } from './support.js';

const [ours, theirs] = socketpair();
const end = ended(startChild('stream-echo', { peer: theirs.fd }));
theirs.close();
const stream = new FdStream(ours);
const back = [];
stream.on('fds', (fds) => {
  for (const fd of fds) {
    back.push(identity(fd.fd));
    fd.close();
  }
});
const chunks = [];
stream.on('data', (chunk) => chunks.push(chunk));
const over = new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject));

const sent = [];
const text = [];
for (let i = 0; i < 200; i++) {
  const fds = Array.from({ length: i % 4 }, () => newFile());
  sent.push(...fds.map(identity));
  text.push(`${i},`.repeat(i));
  stream.writeWithFds(Buffer.from(`${i}:${text[i]}`), fds);
}
stream.end();
await over;
assert.equal(Buffer.concat(chunks).toString(), text.map((part, i) => `${i}:${part}`).join(''));
assert.deepEqual(back, sent);
await assertOrderly(end);
console.log(`${Buffer.concat(chunks).length} bytes and ${back.length} descriptors to a child and back`);
