/**
 * A server that is replaced as a program does it that knows no better, and answers with its pid. With a port it listens
 * there, and sends its listener over descriptor 3 when its parent says "hand over". With a path it removes what is
 * there. Otherwise it gets a listener.
 */
import { rmSync } from 'node:fs';
import http from 'node:http';
import { FdChannel, OwnedFd } from 'fdpasser';

const server = http.createServer((_, response) => response.end(`${process.pid}`));
server.on('listening', () => process.send!({ listens: true }));
const place = process.argv[2]!;

function takePath(): void {
  rmSync(place, { force: true });
  server.listen(place);
}

if (place.startsWith('/')) {
  server.on('error', takePath); // another was faster
  takePath();
} else {
  const channel = FdChannel.inherit();
  if (place !== '') server.listen(Number(place), '127.0.0.1');
  else server.listen({ fd: (await channel.receive()).fds[0]!.take() });
  process.on('message', (command) => {
    if (command === 'hand over') void channel.send('listener', [OwnedFd.duplicate(server)]);
    else server.close(() => process.exit());
  });
}
