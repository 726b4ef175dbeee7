import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { FdChannel, listen } from 'fdpasser';
import { takeover } from 'fdpasser/takeover';
import { address } from '#dist/endpoint/address.js';
import { addon } from '#dist/native/load.js';
import { inFolder } from '../support/descriptors.js';
import { test } from '../support/test.js';

test('a process that finds the control path of one that has just died waits for its successor there', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/control`;
    addon.close(addon.listen(0, address(path, 'bind'), 0o600, 1));
    const meeting = assert.rejects(takeover(path, { stepTimeout: 200 }), { code: 'ERR_FDPASSER_STEP_TIMEOUT' });
    await sleep(50);
    using successor = listen(path);
    const channel = new FdChannel(await successor.accept());
    assert.equal(((await channel.receive()).value as { type: string }).type, 'hello');
    await meeting; // for the manifest, which does not come
    channel.destroy();
  });
});

test('a process that finds a control path that no successor takes serves there as the first', async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/control`;
    addon.close(addon.listen(0, address(path, 'bind'), 0o600, 1));
    const serving = await takeover(path);
    assert.equal(serving.predecessor, undefined);
    await serving.abort();
  });
});
