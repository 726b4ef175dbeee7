// A peer is killed: what it had sent arrives, and waiting calls and the next send get an error.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { FdPasser } from 'fdpasser';
import { ended, newFile, receiveFiles, startChild } from './support.js';

const reports = [];
const passer = new FdPasser({ onError: (error) => reports.push(error) });
const child = startChild('sending', { peer: passer.peer.fd });
passer.iAmParent();
const end = ended(child);
assert.equal((await receiveFiles(passer, 2)).length, 2);
const closed = once(passer, 'close');
const waiting = assert.rejects(passer.receive(), { code: 'ERR_FDPASSER_CLOSED' });
child.kill('SIGKILL');
assert.equal((await end).signal, 'SIGKILL');
await waiting;
await closed;
assert.deepEqual(reports, [undefined]);
const fd = newFile();
await assert.rejects(passer.send(fd), { code: 'ERR_FDPASSER_CLOSED' });
console.log('2 arrived, then the end was told once');
