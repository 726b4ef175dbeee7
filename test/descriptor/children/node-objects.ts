/** Makes one of Node's own objects of every descriptor that it receives, and works with it until its parent closes. */
import { FdPasser, type OwnedFd } from 'fdpasser';
import type { Socket } from 'node:net';

const passer = FdPasser.inherit();
const open: { close(): void }[] = [];
for await (const fd of passer) use(fd);
for (const each of open) each.close();

function use(fd: OwnedFd): void {
  switch (fd.kind) {
    case 'udp': {
      const socket = fd.toDgram((message, { port, address }) =>
        socket.send(`child:${message.toString()}`, port, address),
      );
      open.push(socket);
      break;
    }
    case 'file':
      report(fd.createReadStream({ start: 0 }));
      break;
    case 'fifo':
      report(fd.toSocket());
      break;
    case 'unix-stream':
      if (!fd.listening) {
        report(fd.toSocket());
        break;
      }
    // falls through
    default:
      if (fd.listening) open.push(fd.toServer((socket) => socket.end('child')));
      else answer(fd.toSocket());
  }
}

function answer(socket: Socket): void {
  socket.on('data', (bytes: Buffer) => {
    const text = bytes.toString();
    // If the direction to the peer has ended, the answer goes to the parent.
    socket.once('error', () => process.send!(text)).write(`child:${text}`);
  });
}

function report(stream: NodeJS.ReadableStream): void {
  let text = '';
  stream.setEncoding('utf8').on('data', (more: string) => (text += more));
  stream.on('end', () => process.send!(text));
}
