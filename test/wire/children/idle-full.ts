/** Has no room for what its peer sent, waits for nothing, and so ends. */
import { once } from 'node:events';
import { FdChannel, FdPasser, FdStream } from 'fdpasser';
import { fillTable } from '../../support/fill-table.js';

process.send!('ready');
await once(process, 'message');
fillTable();
const alive = setInterval(() => {}, 1000);
if (process.argv[2] === 'channel') {
  const channel = FdChannel.inherit();
  channel.once('exhausted', leave);
} else if (process.argv[2] === 'passer') {
  const passer = FdPasser.inherit();
  const control = new AbortController();
  passer.receive({ signal: control.signal }).catch(() => {});
  passer.once('exhausted', () => {
    control.abort();
    leave();
  });
} else {
  const stream = new FdStream(3);
  stream.once('exhausted', () => {
    stream.destroy();
    leave();
  });
  stream.resume();
}

function leave(): void {
  console.log('exhausted');
  clearInterval(alive);
  process.disconnect();
}
