import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { takeover } from 'fdpasser/takeover';
import { inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

test('a server that listens already is refused, and the process can still serve', async () => {
  await inFolder(async (folder) => {
    const serving = await takeover(`${folder}/control`);
    const listening = createServer().listen(`${folder}/web`);
    await once(listening, 'listening');
    assert.throws(() => serving.listen('web', listening, `${folder}/web`), {
      code: 'ERR_INVALID_ARG_VALUE',
      message: /^The "server" argument must be a server that does not listen yet/,
    });
    listening.close();
    const server = createServer();
    serving.listen('web', server, `${folder}/other`);
    await serving.ready();
    assert.equal(server.address(), `${folder}/other`);
    server.close();
    await once(server, 'close');
  });
});
