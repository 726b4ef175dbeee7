/**
 * Sends back what comes over the wire that it inherits, and reports what it inherited. It ends when its parent ends.
 */
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

process.once('disconnect', () => {}); // the IPC channel of a fork must not keep this process alive
process.channel?.unref();
await wires[process.argv[2]!]!();
