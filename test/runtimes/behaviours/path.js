// Meets another process at a path, knows who it is, and passes both ways; an abandoned path is replaced.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { FdPasser, connect, listen, peerCredentials } from 'fdpasser';
import { assertOrderly, ended, pathFor, receiveFiles, sendNew, startChild } from './support.js';

const path = pathFor('socket');
const server = listen(path);
assert.throws(() => listen(path), { code: 'EADDRINUSE' });
const child = startChild('connecting', { env: { MEET_AT: path } });
const end = ended(child);
const connection = await server.accept();
assert.deepEqual(peerCredentials(connection), { pid: child.pid, uid: process.getuid(), gid: process.getgid() });
const passer = new FdPasser({ fh: connection });
const sent = sendNew(passer, 50);
assert.deepEqual(await receiveFiles(passer, 50), sent);
await passer.close();
await assertOrderly(end);
server.close();
assert.ok(!existsSync(path));
await assert.rejects(connect(path), { code: 'ENOENT', path });
console.log('50 over a path and back');
