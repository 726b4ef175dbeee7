import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { linkSync, readdirSync } from 'node:fs';
import { connect, listen, peerCredentials } from 'fdpasser';
import { ended, message, startChild, type Ended } from '../support/child.js';
import { inFolder } from '../support/descriptors.js';
import type { Race } from '../support/race.js';
import { test } from '../support/test.js';

function assertOrderly({ code, signal, stderr }: Ended): void {
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
}

test('of two processes that replace the same dead socket at once, exactly one wins', async () => {
  await inFolder(async (folder) => {
    const children = [startChild('endpoint/replacer'), startChild('endpoint/replacer')] as const;
    const ends = children.map(ended);
    for (let round = 0; round < 300; round++) {
      const path = `${folder}/${round}`;
      const dying = listen(`${path}-live`);
      linkSync(dying.path, path);
      dying.close();
      const at = String(process.hrtime.bigint() + 2_000_000n);
      const results = await Promise.all(children.map((child) => tell(child, { path, at })));
      assert.deepEqual(results.toSorted(), ['EADDRINUSE', 'won'], `round ${round}`);
      using client = await connect(path);
      assert.equal(peerCredentials(client).pid, children[results.indexOf('won')]!.pid);
      await Promise.all(children.map((child) => tell(child, 'close')));
      assert.deepEqual(readdirSync(folder), []);
    }
    for (const child of children) child.send('end');
    for (const end of ends) assertOrderly(await end);
  });
});

function tell(child: ChildProcess, what: Race | 'close'): Promise<string> {
  const answer = message<string>(child);
  child.send(what);
  return answer;
}
