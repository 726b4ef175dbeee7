/** Makes copies of the socket that it inherits and closes them, until its parent sends a message. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { OwnedFd } from 'fdpasser';

using socket = new OwnedFd(3);
const over = new AbortController();
process.once('message', () => over.abort());
process.send!('began');
while (!over.signal.aborted) {
  for (let i = 0; i < 100; i++) socket.dup().close();
  await nextTurn();
}
process.disconnect();
