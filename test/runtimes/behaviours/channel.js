// Messages with descriptors go to a child over an FdChannel, confirmed, and come back.
import assert from 'node:assert/strict';
import { FdChannel, socketpair } from 'fdpasser';
import { assertOrderly, ended, identity, newFile, startChild } from './support.js';

const [ours, theirs] = socketpair();
const end = ended(startChild('channel-echo', { peer: theirs.fd }));
theirs.close();
const channel = new FdChannel(ours);
const sent = [];
const sending = (async () => {
  for (let i = 0; i < 50; i++) {
    const fds = Array.from({ length: i % 5 === 4 ? 300 : i % 3 }, () => newFile());
    sent.push({ i, files: fds.map(identity) });
    await channel.send({ i, text: 'x'.repeat(i * 100) }, fds, { confirm: true });
  }
})();
const back = [];
for (let i = 0; i < 50; i++) {
  const { value, fds } = await channel.receive();
  back.push({ i: value, files: fds.map((fd) => identity(fd.fd)) });
  for (const fd of fds) fd.close();
}
await sending;
assert.deepEqual(back, sent);
await channel.close();
await assertOrderly(end);
console.log('50 messages confirmed, with up to 300 descriptors each, and back');
