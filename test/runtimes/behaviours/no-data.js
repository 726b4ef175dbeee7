// What copies objects refuses an OwnedFd, and spawn takes one as a standard stream.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { MessageChannel, Worker } from 'node:worker_threads';
import { serialize } from 'node:v8';
import { FdPasser, OwnedFd } from 'fdpasser';
import { newFile } from './support.js';

const file = new OwnedFd(newFile());
const { port1 } = new MessageChannel();
for (const value of [file, { inside: [file] }]) {
  for (const copy of [
    () => structuredClone(value),
    () => port1.postMessage(value),
    () => new Worker('', { eval: true, workerData: value }),
    () => serialize(value),
  ])
    assert.throws(copy, /could not be cloned|can not be cloned/);
  assert.throws(() => JSON.stringify(value), { code: 'ERR_FDPASSER_NO_DATA' });
}
port1.close();

const { child, passer } = FdPasser.spawn('echo', ['written'], { stdio: ['ignore', file, 'inherit'] });
const code = await new Promise((resolve) => child.on('close', resolve));
assert.equal(code, 0);
passer.destroy();
assert.equal(file.closed, false);
assert.equal(readFileSync(`/proc/self/fd/${file.fd}`, 'utf8'), 'written\n');
file.close();
console.log('refused, and written');
process.exit();
