/**
 * A program that knows nothing of workers. Its server says `listens` to who has sent something, once another server
 * listens, too. That one answers with its pid.
 */
import { createServer } from 'node:net';

const [port, later] = process.argv.slice(2).map(Number);
const server = createServer((socket) => {
  socket.once('data', () => {
    const other = createServer((client) => void client.end(`${process.pid}`));
    other.listen(later, '127.0.0.1', () => socket.end('listens'));
  });
});
server.listen(port, '127.0.0.1');
