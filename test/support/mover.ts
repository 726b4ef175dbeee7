import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { FdChannel } from '#dist/channel/channel.js';
import type { Carrier } from '#dist/takeover/live/index.js';
import { partsOf } from '#dist/takeover/live/carry-over.js';
import { LiveConnections } from '#dist/takeover/live/index.js';
import type { Json } from '#dist/takeover/live/carried.js';

type Said =
  | { type: 'live'; key: number; kind: string; state: Json }
  | { type: 'yours'; key: number; late: string; more: boolean };

/**
 * Makes this process move the live connections of a server to the process at the other end of descriptor 3, and go on
 * with those that come from there. Its parent tells it what to do: see `LiveProcess`.
 */
export async function serveAndMove(server: Server, carrier?: Carrier): Promise<void> {
  const live = new LiveConnections(server, { http: true, websocket: true });
  live.carrier = carrier;
  const channel = FdChannel.inherit() as FdChannel<Said>;
  const end = new AbortController();

  const leave = async (): Promise<void> => {
    let moved = 0;
    for await (const { key, kind, state, fd, taken, kept } of live.leave(end.signal)) {
      process.send!({ departed: kind });
      try {
        await channel.send({ type: 'live', key, kind, state }, [fd], { confirm: true });
      } catch {
        kept();
        break; // it has died
      }
      moved++;
      for (const part of partsOf(await taken())) channel.send({ type: 'yours', key, ...part }).catch(() => {});
    }
    process.send!({ moved });
  };

  process.on('message', (command: string) => {
    if (command === 'leave') void leave();
    else if (command === 'count') server.getConnections((_, connections) => process.send!({ connections }));
    else if (command === 'dismiss all') {
      live.dismissAll();
      process.send!({ dismissed: true });
    } else if (command === 'close') {
      end.abort();
      server.close();
      live.close();
      void channel.close();
      process.disconnect();
    } else if (command === 'close naively') {
      server.close(() => process.send!({ gone: true }));
      process.send!({ closed: true });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.send!({ port: (server.address() as AddressInfo).port });
  try {
    for await (const { value, fds } of channel)
      if (value.type === 'live') live.adopt(value.key, value.kind, fds[0]!, value.state);
      else live.released(value.key, Buffer.from(value.late, 'base64'), value.more);
  } catch (error) {
    process.send!({ broken: (error as Error).message }); // the other process has died: the server goes on
  }
  live.orphaned();
}
