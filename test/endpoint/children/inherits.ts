/** Sends back what comes, over what it inherits, and says what it inherited. It ends with its parent's end. */
import { once } from 'node:events';
import { FdChannel, FdPasser, FdStream, type OwnedFd } from 'fdpasser';

const wires: Record<string, () => Promise<unknown>> = {
  async FdChannel() {
    const channel = FdChannel.inherit();
    await channel.send({ left: process.env['FDPASSER_FD'] ?? null, ipc: process.send !== undefined });
    for await (const { value, fds } of channel) await channel.send(value, fds);
  },
  async FdPasser() {
    const passer = FdPasser.inherit();
    for await (const fd of passer) passer.pushSendFh(fd);
  },
  async FdStream() {
    const stream = FdStream.inherit();
    stream.on('fds', (fds: OwnedFd[]) => stream.writeWithFds(Buffer.from('back'), fds)).resume();
    await once(stream, 'end');
  },
};

process.once('disconnect', () => {}); // whoever forks is heard, and need not be kept
process.channel?.unref();
await wires[process.argv[2]!]!();
