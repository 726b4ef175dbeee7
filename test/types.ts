/** What the compiler must accept and refuse. Compiled with the other tests; running it checks nothing more. */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  FdChannel,
  FdPasser,
  FdStream,
  OwnedFd,
  connect,
  listen,
  sendDatagram,
  type FdLike,
  type FdStreamOptions,
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
  const signal = undefined as AbortSignal | undefined;
  await passer.send(owned, { signal });
  await connect('/nowhere', { signal, timeout: undefined });
  new FdPasser(owned, { batch: 2, onError: undefined }).destroy();
  new FdPasser([0, owned]).destroy();
  new FdPasser({ fh: owned, batch: undefined }).destroy();
  new FdStream(owned, { signal }).writeWithFds(Buffer.of(1), [owned], () => {});
  await using channel = new FdChannel<{ n: number }>(await connect('/nowhere'));
  await channel.send({ n: 1 }, [socket], { confirm: true });
  const n: number = (await channel.receive()).value.n;
  FdChannel.spawn('child', [], { stdio: ['ignore', 'pipe', owned] }).child.kill();
  await sendDatagram('/nowhere', Buffer.of(n), [owned]);
}

export async function listeners(owned: OwnedFd): Promise<void> {
  const stream = new FdStream(owned).on('fds', (fds) => fds[0]!.close()).on('data', (chunk) => chunk);
  stream.once('fds', (fds: OwnedFd[]) => fds.length).off('fds', () => {});
  new FdStream({ fh: owned, fds: 'number' }).on('fds', (fds: number[]) => fds);
  (await FdStream.connect('/nowhere', { fds: 'number' })).on('fds', ([fd]) => fd!.toFixed());
  FdStream.spawn('child', [], { stream: { fds: 'number' } }).stream.on('fds', ([fd]) => fd!.toFixed());
  FdStream.inherit().on('fds', ([fd]) => fd!.kind);
  const either: FdStreamOptions = {};
  new FdStream(owned, either).on('fds', (fds: OwnedFd[] | number[]) => fds);
  const duplex: Duplex = stream;
  FdStream.from([]).pipe(duplex);
  // @ts-expect-error OwnedFds come, and not just anything
  stream.prependListener('fds', ([fd]) => fd!.toFixed());
  // @ts-expect-error numbers come if they are asked for
  new FdStream(owned, { fds: 'number' }).addListener('fds', ([fd]) => fd!.close());
  new FdChannel({ fh: owned, codec: 'bytes' }).destroy();
  // @ts-expect-error a channel has no pair to make
  new FdChannel({ codec: 'bytes' }).destroy();
  spawn('child', [], { stdio: ['ignore', owned.fd, 'inherit'] }).unref();
  // Node takes one. Its type for this is an alias, to which nobody can add, and an overload of ours would hide Node's
  // own: `@types/node` up to 24 declares them in child_process, and from 25 in node:child_process.
  // @ts-expect-error its types do not
  spawn('child', [], { stdio: ['ignore', owned, 'inherit'] }).unref();
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
  // @ts-expect-error options stand in one place
  void new FdPasser({ batch: 2 }, { batch: 2 });
  // @ts-expect-error the descriptor stands in one place
  void new FdPasser(0, { fh: 0 });
  // @ts-expect-error no such option
  void passer.send(0, { keepopen: true });
  // @ts-expect-error not a type of socket
  listen('/nowhere', { type: 'tcp' });
}
