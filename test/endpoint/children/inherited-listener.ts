/**
 * Serves a listening socket that its parent made, descriptor 3: accepts as many as argv[2] says, and sends each a file.
 */
import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { FdPasser, FdServer } from 'fdpasser';

using server = FdServer.from(3);
process.send!(server.path);
for (let left = Number(process.argv[2]); left > 0; left--) {
  const passer = new FdPasser({ fh: await server.accept() });
  passer.pushSendFh(openSync(process.execPath, 'r'));
  await passer.close();
}
assert.equal(server.fd, 3);
process.disconnect();
