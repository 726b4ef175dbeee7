// Sends back bytes and descriptors.
import { FdStream } from 'fdpasser';

const stream = new FdStream(3, { allowHalfOpen: true });
let fds = [];
stream.on('fds', (received) => fds.push(...received));
stream.on('data', (bytes) => {
  stream.writeWithFds(bytes, fds);
  fds = [];
});
stream.on('end', () => stream.end());
