import assert from 'node:assert/strict';
import { ended, startChild } from '../support/child.js';
import { test } from '../support/test.js';

for (const scene of ['sent', 'received'])
  test(`a ${scene} callback that throws does not keep the passer from closing`, async () => {
    const { code, signal, stdout, stderr } = await ended(startChild('passer/throwing-last', { args: [scene] }));
    assert.deepEqual(
      { code, signal, stdout, stderr },
      { code: 0, signal: null, stdout: 'caught\nclosed\n', stderr: '' },
    );
  });
