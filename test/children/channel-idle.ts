/** Takes one message, says so, and takes no more. */
import { FdChannel } from 'fdpasser';

const channel = FdChannel.inherit();
const message = await channel.receive();
for (const fd of message.fds) fd.close();
process.send!('took one');
