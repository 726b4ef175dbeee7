/**
 * A process with an HTTP server that moves its live connections to whoever is at the other end of descriptor 3, and
 * goes on with those that come from there. Its parent says what it does.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FdChannel } from '#dist/channel/channel.js';
import { LiveConnections } from '#dist/takeover/live/index.js';
import type { Json } from '#dist/takeover/live/carried.js';

interface Live {
  kind: string;
  state: Json;
}

const server = createServer((request, response) => void answer(request, response));

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks = (await request.toArray()) as Buffer[];
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const wait = Number(new URL(request.url!, 'http://here').searchParams.get('wait') ?? 0);
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  response.setHeader('pid', process.pid).end(`${request.url} ${length}`);
}

const live = new LiveConnections(server, { http: true, websocket: true });
const channel = FdChannel.inherit() as FdChannel<Live>;

async function leave(): Promise<void> {
  let moved = 0;
  const end = new AbortController();
  for await (const { kind, state, fd, taken, kept } of live.leave(end.signal)) {
    try {
      await channel.send({ kind, state }, [fd], { confirm: true });
    } catch {
      kept();
      break;
    }
    taken();
    moved++;
  }
  process.send!({ moved });
}

function count(): void {
  server.getConnections((_, connections) => process.send!({ connections }));
}

process.on('message', (command: string) => {
  if (command === 'leave') void leave();
  else if (command === 'count') count();
  else if (command === 'close idle') server.closeIdleConnections();
  else if (command === 'close') {
    server.close().closeAllConnections();
    void channel.close();
    process.disconnect();
  }
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send!({ port: (server.address() as AddressInfo).port });
for await (const { value, fds } of channel) live.adopt(value.kind, fds[0]!, value.state);
