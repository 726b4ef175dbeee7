/** The promises of the types, checked by `npm run check:types`. Nothing runs this. */
import { FdChannel, FdPasserError, type FdPasserErrorCode, type Message, type OwnedFd } from 'fdpasser';

interface Order {
  id: number;
}
interface Receipt {
  at: string;
}

export async function namedTypes(channel: FdChannel<Order, Receipt>): Promise<Receipt> {
  await channel.send({ id: 1 });
  // @ts-expect-error -- a value of the received type
  await channel.send({ at: 'now' });
  const reply: Message<Receipt, Order> = await channel.request({ id: 2 }, [], { timeout: 10 });
  for await (const message of channel) {
    await message.reply({ id: 3 }, message.fds);
    // @ts-expect-error -- a reply has the type of what is sent
    await message.reply(message.value);
  }
  return reply.value;
}

export async function oneType(channel: FdChannel<Order>): Promise<Order> {
  await channel.send({ id: 1 });
  return (await channel.receive()).value;
}

export async function byCodec(socket: OwnedFd): Promise<Buffer> {
  const bytes = new FdChannel(socket, { codec: 'bytes' });
  await bytes.send(new Uint8Array(8));
  // @ts-expect-error -- no bytes
  await bytes.send('text');
  const connected = await FdChannel.connect('/run/socket', { codec: 'bytes' });
  const { channel } = FdChannel.spawn('program', [], { channel: { codec: 'bytes' } });
  // @ts-expect-error -- no bytes
  await channel.send({});
  const json = FdChannel.inherit(3, { codec: 'json' });
  await json.send({ anything: 1 });
  // @ts-expect-error -- no such codec
  FdChannel.inherit(3, { codec: 'xml' });
  return (await connected.receive()).value;
}

export function options(socket: OwnedFd, signal: AbortSignal | undefined, timeout: number | undefined): void {
  const channel: FdChannel = new FdChannel(socket, { codec: undefined, maxFds: undefined, onError: undefined });
  void channel.request(1, [], { signal, timeout, keepOpen: undefined });
  void channel.send(1, [], { signal, confirm: undefined });
  void channel.receive({ signal });
  // @ts-expect-error -- keepOpen
  void channel.send(1, [], { keepopen: true });
}

export function events(channel: FdChannel): void {
  channel.on('unreadable', (error) => error.code satisfies FdPasserErrorCode);
  // @ts-expect-error -- it takes no argument
  channel.on('close', (error: Error) => error);
}

export function errors(error: unknown): boolean {
  if (!(error instanceof FdPasserError)) return false;
  // @ts-expect-error -- no such code
  if (error.code === 'ERR_FDPASSER_TIMEDOUT') return false;
  return error.code === 'ERR_FDPASSER_TIMEOUT';
}
