/** Takes one message, and exits in the next turn of the event loop without closing anything. */
import { FdChannel } from 'fdpasser';

const channel = FdChannel.inherit();
await channel.receive();
setImmediate(() => process.exit());
