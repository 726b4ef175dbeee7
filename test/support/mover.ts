import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { FdChannel } from '#dist/channel/channel.js';
import type { FdPasserError } from '#dist/errors.js';
import type { Carrier } from '#dist/takeover/live/index.js';
import { LiveConnections } from '#dist/takeover/live/index.js';
import type { Json } from '#dist/takeover/live/carried.js';

interface Live {
  kind: string;
  state: Json;
}

/**
 * Makes of this process one that moves the live connections of a server to whoever is at the other end of descriptor 3,
 * and goes on with those that come from there. Its parent says what it does: see `LiveProcess`.
 */
export async function serveAndMove(server: Server, carrier?: Carrier): Promise<void> {
  const live = new LiveConnections(server, { http: true, websocket: true });
  live.carrier = carrier;
  const channel = FdChannel.inherit() as FdChannel<Live>;
  const end = new AbortController();

  const leave = async (): Promise<void> => {
    let moved = 0;
    for await (const { kind, state, fd, taken, kept } of live.leave(end.signal)) {
      try {
        await channel.send({ kind, state }, fd === undefined ? [] : [fd], { confirm: true });
      } catch (error) {
        kept();
        if ((error as FdPasserError).code === 'ERR_FDPASSER_CLOSED') break;
        throw error;
      }
      taken();
      if (fd !== undefined) moved++;
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
      void channel.close();
      process.disconnect();
    } else if (command === 'close naively') {
      server.close();
      process.send!({ closed: true });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.send!({ port: (server.address() as AddressInfo).port });
  try {
    for await (const { value, fds } of channel) live.adopt(value.kind, fds[0], value.state);
  } catch (error) {
    process.send!({ broken: (error as Error).message }); // the other has died: the server goes on
  }
}
