/** Listens, fills the table, and accepts all connections nevertheless: those without a slot after others have gone. */
import { openSync } from 'node:fs';
import { once } from 'node:events';
import { OwnedFd, listen } from 'fdpasser';

const server = listen({ port: 0, host: '127.0.0.1' });
process.send!(server.address().port);
await once(process, 'message');
const filler: OwnedFd[] = [];
for (;;) {
  try {
    filler.push(new OwnedFd(openSync('/dev/null', 'r')));
  } catch {
    break;
  }
}
process.on('warning', () => {});
for (let i = 0; i < 5; i++) filler.pop()!.close();
let accepted = 0;
while (accepted < 30) {
  const connections = await server.acceptMany(64);
  accepted += connections.length;
  for (const connection of connections) connection.close();
}
console.log(`accepted ${accepted}`);
OwnedFd.closeAll(filler);
server.close();
process.disconnect();
