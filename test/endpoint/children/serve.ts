/** Serves with every listening socket that it receives, and gives the last one back for every other descriptor. */
import type { Server } from 'node:net';
import { FdPasser } from 'fdpasser';

process.disconnect();
const passer = FdPasser.inherit();
let server: Server | undefined;
for await (const fd of passer) {
  if (fd.listening) server = fd.toServer((socket) => socket.end('child'));
  else {
    fd.close();
    await passer.send(server!);
  }
}
server?.close();
