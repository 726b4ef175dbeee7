/** Adopts the number argv[2], which is not close-on-exec. */
import assert from 'node:assert/strict';
import { OwnedFd } from 'fdpasser';
import { O_CLOEXEC, flagsOf } from '../../support/descriptors.js';

const closesOnExec = (owned: OwnedFd): boolean => (flagsOf(owned.fd) & O_CLOEXEC) !== 0;

const kept = new OwnedFd(Number(process.argv[2]));
assert.ok(!closesOnExec(kept));
const marked = new OwnedFd(kept.take(), { closeOnExec: true });
assert.ok(closesOnExec(marked));
using still = new OwnedFd(marked.take(), { closeOnExec: false });
assert.ok(closesOnExec(still));
