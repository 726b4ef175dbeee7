/** Aborts a receive while the table is full, and asks again when there is room. Reports what then came. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { FdPasser } from 'fdpasser';
import { closeAll, identity, openDescriptors } from '../../support/descriptors.js';
import { fillTable } from '../../support/fill-table.js';

const passer = FdPasser.inherit();
const received: string[] = [];
// One receive is asked for while the table is still full, another only when there is room.
for (const room of ['later', 'before']) {
  const abort = new AbortController();
  const filler = fillTable();
  const aborted = assert.rejects(passer.receive({ signal: abort.signal }), { name: 'AbortError' });
  let told = 0;
  passer.on('exhausted', () => told++);
  await once(passer, 'exhausted');
  await sleep(200); // time enough to find it full again, which is not reported again
  assert.equal(told, 1);
  passer.removeAllListeners('exhausted');
  abort.abort();
  await aborted;

  const resumed = once(passer, 'resumed');
  if (room === 'before') {
    closeAll(filler.splice(0));
    const open = openDescriptors().size;
    // Time enough for the link to try again: it must not take what nobody asks for.
    await sleep(200);
    assert.equal(openDescriptors().size, open);
  }
  const again = passer.receive();
  closeAll(filler);
  using fd = await again;
  received.push(identity(fd.fd));
  await resumed;
}
await passer.close();
process.send!(received, () => process.disconnect());
