// Passes both ways at once over a pair in one process, and to a spawned child and back.
import assert from 'node:assert/strict';
import { FdPasser } from 'fdpasser';
import { assertOrderly, ended, passers, receiveFiles, sendNew, startChild } from './support.js';

const [a, b] = passers();
const there = sendNew(a, 100);
const back = sendNew(b, 100);
const [arrivedBack, arrivedThere] = await Promise.all([receiveFiles(a, 100), receiveFiles(b, 100)]);
assert.deepEqual(arrivedThere, there);
assert.deepEqual(arrivedBack, back);
await Promise.all([a.close(), b.close()]);

const passer = new FdPasser();
const child = startChild('echo', { peer: passer.peer.fd });
passer.iAmParent();
const end = ended(child);
const sent = sendNew(passer, 100);
assert.deepEqual(await receiveFiles(passer, 100), sent);
await passer.close();
await assertOrderly(end);
console.log('200 in one process, 100 to a child and back');
