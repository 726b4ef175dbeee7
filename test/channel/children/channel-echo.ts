/** Sends back every message it receives, descriptors and all, until its parent closes. */
import { FdChannel } from 'fdpasser';

process.disconnect();
const channel = FdChannel.inherit();
for await (const { value, fds } of channel) await channel.send(value, fds);
