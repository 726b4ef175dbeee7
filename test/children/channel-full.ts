/** Has no room for what its peer sends, for longer than it would wait for a hello. */
import { FdChannel } from 'fdpasser';

process.disconnect();
const channel = FdChannel.inherit(3, { helloTimeout: 300, onError: (error) => console.log(error) });
channel.once('exhausted', () => {
  console.log('exhausted');
  setTimeout(() => channel.destroy(), 600);
});
await channel.receive().catch(() => undefined);
