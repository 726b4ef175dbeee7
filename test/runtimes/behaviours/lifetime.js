// A process stays alive for what it waits for, but not for an idle passer or server; an exception in a callback is
// reported.
import assert from 'node:assert/strict';
import { FdPasser } from 'fdpasser';
import { assertOrderly, ended, newFile, startChild } from './support.js';

const idle = new FdPasser();
const idleEnd = ended(startChild('idle', { peer: idle.peer.fd }));
idle.iAmParent();
assert.match(await assertOrderly(idleEnd), /^idle/);
idle.destroy();

const passer = new FdPasser();
const child = startChild('waiting', { peer: passer.peer.fd });
passer.iAmParent();
const end = ended(child);
// It says so, and has nothing else to live for.
await new Promise((resolve) => child.stdout.once('data', resolve));
await passer.send(newFile());
await passer.send(newFile());
assert.match(await assertOrderly(end), /told: mine\nreceived/);
await passer.close();
console.log('an idle process ended, one that waited did not');
