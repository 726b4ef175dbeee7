/** Takes one message, says so, and takes no more. Lives until it is killed, or its parent goes. */
import { FdChannel } from 'fdpasser';

process.on('message', () => {});
const channel = FdChannel.inherit();
const message = await channel.receive();
for (const fd of message.fds) fd.close();
process.send!('took one');
