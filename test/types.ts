/** What the compiler must accept and refuse. Compiled with the other tests; running it checks nothing more. */
import type { Socket } from 'node:net';
import {
  FdChannel,
  FdPasser,
  FdStream,
  OwnedFd,
  connect,
  listen,
  sendDatagram,
  type FdLike,
  type Kind,
} from 'fdpasser';

export async function accepted(passer: FdPasser, socket: Socket, owned: OwnedFd): Promise<void> {
  const all: FdLike[] = [0, owned, { fd: 1 }, socket];
  for (const fh of all) passer.pushSendFh(fh, { keepOpen: true }, () => {});
  passer.pushSendFh(owned, () => {});
  passer.pushRecvFh((fd) => fd.close());
  const received: OwnedFd = await passer.receive({ signal: AbortSignal.timeout(1) });
  const kind: Kind = received.kind;
  for await (using fd of passer) fd.dup();
  passer.on('error', (error) => error.message).on('close', () => kind);
  using server = listen('/nowhere', { allow: ({ uid, pid, gid }) => uid + pid + gid > 0 });
  for await (const connection of server) void new FdStream(connection, { fds: 'number' });
  await using channel = new FdChannel<{ n: number }>(await connect('/nowhere'));
  await channel.send({ n: 1 }, [socket], { confirm: true });
  const n: number = (await channel.receive()).value.n;
  await sendDatagram('/nowhere', Buffer.of(n), [owned]);
}

export function refused(passer: FdPasser, channel: FdChannel<{ n: number }>): void {
  // @ts-expect-error a descriptor has no name
  passer.pushSendFh('file');
  // @ts-expect-error the callback gets an OwnedFd, not a number
  passer.pushRecvFh((fd: number) => fd);
  // @ts-expect-error whoever sends waits for the promise, or pushes
  void passer.send(0, () => {});
  // @ts-expect-error values have the type of the channel
  void channel.send({ n: '1' });
  // @ts-expect-error read only
  new OwnedFd(0).fd = 1;
  // @ts-expect-error one or two descriptors
  void new FdPasser({ fh: [0] });
  // @ts-expect-error not a type of socket
  listen('/nowhere', { type: 'tcp' });
}
