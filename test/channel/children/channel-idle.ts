/** Takes one message, reports it, and takes no more. Lives until it is killed, or its parent ends. */
import { FdChannel } from 'fdpasser';

process.on('message', () => {});
const channel = FdChannel.inherit();
const message = await channel.receive();
for (const fd of message.fds) fd.close();
process.send!('took one');
