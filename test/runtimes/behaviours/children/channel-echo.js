// Sends back the number and the descriptors of each message.
import { FdChannel } from 'fdpasser';

const channel = FdChannel.inherit();
for await (const { value, fds } of channel) await channel.send(value.i, fds);
