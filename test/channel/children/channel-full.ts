/** Has no room for its peer's message, for longer than it would wait for a hello. */
import { FdChannel } from 'fdpasser';
import { openDescriptors, until } from '../../support/descriptors.js';
import { fillTable } from '../../support/fill-table.js';

process.disconnect();
// That gives back a slot a little later.
await until(() => !openDescriptors().has(4));
const channel = FdChannel.inherit(3, { helloTimeout: 300, onError: (error) => console.log(error) });
channel.once('exhausted', () => {
  console.log('exhausted');
  setTimeout(() => channel.destroy(), 600);
});
fillTable();
await channel.receive().catch(() => undefined);
