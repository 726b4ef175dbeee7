/** Makes a passer of the socket with the number argv[2], which is not close-on-exec. */
import assert from 'node:assert/strict';
import { FdPasser } from 'fdpasser';
import { O_CLOEXEC, flagsOf } from '../../support/descriptors.js';

const fd = Number(process.argv[2]);
assert.equal(flagsOf(fd) & O_CLOEXEC, 0);
await using passer = new FdPasser({ fh: fd });
assert.equal(flagsOf(fd) & O_CLOEXEC, O_CLOEXEC);
using received = await passer.receive();
assert.equal(flagsOf(received.fd) & O_CLOEXEC, O_CLOEXEC);
