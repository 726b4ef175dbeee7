/** Has no room for what its peer sends before any hello, and then makes room; reports how its channel ends. */
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { FdChannel } from 'fdpasser';
import { leftOpen, openDescriptors, until } from '../../support/descriptors.js';
import { fillTable } from '../../support/fill-table.js';

process.send!('ready');
await once(process, 'message');
process.disconnect();
const before = openDescriptors();
before.delete(3);
const filler = fillTable();
for (const fd of filler.splice(0, 30)) closeSync(fd);
const channel = FdChannel.inherit(3, {
  helloTimeout: 300,
  onError: (error) => console.log(error?.code),
});
channel.receive().catch(() => {});
channel.once('exhausted', () => {
  console.log('exhausted');
  for (const fd of filler.splice(0)) closeSync(fd);
});
await new Promise<void>((resolve) => channel.once('close', resolve));
// A thread closes a socket in which descriptors lie.
await until(() => leftOpen(before).filter((line) => !line.startsWith('4 ')).length === 0);
