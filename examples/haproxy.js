/**
 * Takes the listening sockets of a running HAProxy, serves them, and gives them to a HAProxy that is started later. No
 * connection is refused meanwhile: the sockets stay open, and only the process that accepts from them changes.
 *
 * node examples/haproxy.js TAKE GIVE
 *
 * TAKE is the path of HAProxy's stats socket, which must have "expose-fd listeners" in its configuration. Tell HAProxy
 * to leave afterwards (SIGUSR1). GIVE is a path to listen at: "haproxy -x GIVE -sf PID" takes the sockets back, and
 * tells this process to leave.
 *
 * The protocol is HAProxy's own ("_getsocks" in its src/cli.c, sock_get_old_sockets in its src/sock.c): an int with the
 * number of sockets, then up to 252 of them in each message, with a few bytes for each, and 4 bytes in return for each.
 */
import { createServer } from 'node:http';
import { FdStream, listen, OwnedFd } from 'fdpasser';

const COMMAND = '_getsocks\n';
const INT = 4;
const MOST = 252;
/** The description of one socket: no namespace, no interface, no options. */
const ABOUT = Buffer.alloc(1 + 1 + INT);

const [take, give] = process.argv.slice(2);
const sockets = await takeSockets(take);
const servers = sockets.map((socket) => {
  const server = createServer((request, response) => response.end(`Node ${process.pid}\n`));
  return server.listen({ fd: socket.dup().take() });
});
console.log(`serving ${sockets.length}`);

const giving = listen(give);
// "haproxy -sf" sends this signal. Like HAProxy's own processes, this one leaves when all requests are answered.
process.once('SIGUSR1', () => {
  giving.close();
  OwnedFd.closeAll(sockets);
  for (const server of servers) server.close();
});
for await (const connection of giving) {
  try {
    await giveSockets(new FdStream(connection), sockets);
  } catch (error) {
    console.error(`A client has gone: ${error.message}`); // HAProxy waits a second for each answer
  }
}

/** The listening TCP sockets of the HAProxy whose stats socket is at `path`. */
async function takeSockets(path) {
  const stream = await FdStream.connect(path);
  const fds = [];
  stream.on('fds', (received) => {
    fds.push(...received);
    stream.write(int(fds.length)); // otherwise no more come
  });
  stream.write(COMMAND);
  let received = Buffer.alloc(0);
  let count;
  for await (const bytes of stream) {
    received = Buffer.concat([received, bytes]);
    if (received.length >= INT) [count] = new Int32Array(Uint8Array.from(received.subarray(0, INT)).buffer);
    if (fds.length === count) break; // this closes the stream
  }
  if (fds.length !== count) throw new Error(`${path} gave nothing: has its configuration "expose-fd listeners"?`);
  const wanted = fds.filter((fd) => fd.kind === 'tcp' && fd.listening);
  OwnedFd.closeAll(fds.filter((fd) => !wanted.includes(fd)));
  return wanted;
}

/** Gives duplicates to a client that asks as HAProxy does. */
async function giveSockets(stream, all) {
  const heard = stream[Symbol.asyncIterator]();
  let text = '';
  while (!text.includes(COMMAND)) {
    const { done, value } = await heard.next();
    if (done) return;
    text += value;
  }
  stream.write(int(all.length));
  for (let first = 0; first < all.length; first += MOST) {
    const some = all.slice(first, first + MOST);
    stream.writeWithFds(Buffer.concat(some.map(() => ABOUT)), some, { keepOpen: true });
    await heard.next(); // the client has them
  }
  stream.end();
}

function int(value) {
  return Buffer.from(new Int32Array([value]).buffer);
}
