/**
 * A thousand connections, each with one value at a time on its way there or back: `ping|pong channel|lines`. The
 * pinging side makes the connections, and passes the other ends over the socket of the pair.
 */
import { FdChannel, FdPasser, socketpair } from 'fdpasser';
import { JsonLines } from './json-lines.js';
import { deferred, serve, SOCKET, VALUE } from './side.js';

const CONNECTIONS = 1000;
const [mode, way] = process.argv.slice(2);
const passer = new FdPasser({ fh: SOCKET, batch: 253 });
/** Called for each value that comes, with the wire to send over. */
let came;
let connections;

await serve({ ping, pong }[mode], { receives: mode === 'pong' });

async function ping(total) {
  connections ??= await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const [one, other] = socketpair();
      await passer.send(other);
      return connection(one);
    }),
  );
  const { promise, resolve } = deferred();
  let begun = 0;
  let ended = 0;
  const go = (wire) => begun++ < total && wire.send(VALUE);
  came = (wire) => (++ended === total ? resolve() : go(wire));
  connections.forEach(go);
  await promise;
}

async function pong(total) {
  const { promise, resolve } = deferred();
  let left = total;
  came = (wire) => {
    wire.send(VALUE);
    if (--left === 0) setImmediate(() => resolve());
  };
  if (connections === undefined) {
    connections = [];
    while (connections.length < CONNECTIONS) connections.push(connection(await passer.receive()));
  }
  await promise;
}

function connection(socket) {
  if (way === 'lines') {
    const wire = new JsonLines(socket.take());
    return wire.on('message', () => came(wire));
  }
  const wire = new FdChannel(socket);
  void receiveAll(wire);
  return wire;
}

async function receiveAll(channel) {
  for (;;) {
    await channel.receive();
    came(channel);
  }
}
