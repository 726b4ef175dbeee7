/** Something has closed a number behind its owner: the rest must still end. */
import assert from 'node:assert/strict';
import { ended, startChild } from '../support/child.js';
import { inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

// The library closes such a number again, which the guard of the tests forbids.
const UNGUARDED = { execArgv: ['--no-warnings'], env: { LD_PRELOAD: process.env['PRELOAD'] ?? '' } };

for (const [scene, fact, said] of [
  ['server accepts', 'accept() of a server rejects, and close() ends', 'EBADF accept\nclosed\n'],
  ['server closes', 'close() of a server refuses who waits to accept', 'ERR_FDPASSER_CLOSED\nclosed\n'],
  ['message', 'the other descriptors of a message are closed', 'ERR_FDPASSER_CLOSED_BEHIND\nall closed\n'],
  ['closeAll', 'OwnedFd.closeAll closes the others', 'all closed\n'],
  ['peer', 'iAmParent() begins although the peer was closed', 'received\nall closed\n'],
] as const)
  test(`${fact}, when something else has closed the number`, async () => {
    await inFolder(async (folder) => {
      const child = startChild('wire/ending-behind', { ...UNGUARDED, args: [scene, `${folder}/socket`] });
      assert.deepEqual(await ended(child), { code: 0, signal: null, stdout: said, stderr: '' });
    });
  });
