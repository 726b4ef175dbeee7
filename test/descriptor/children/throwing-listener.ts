/** A server whose listener throws, given a connection. */
import { createServer } from 'node:net';
import { socketpair } from 'fdpasser';

process.disconnect();
process.once('uncaughtException', (error) => process.stdout.write(`caught: ${error.message}`));
const server = createServer(() => {
  throw new Error('of a listener');
});
const [fd, peer] = socketpair();
const socket = fd.toConnection(server)!;
peer.close();
socket.resume();
