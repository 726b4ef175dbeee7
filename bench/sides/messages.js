/**
 * Values of 100 bytes of JSON, without descriptors: `send|receive channel|lines|ipc`. Calls of such values, each with a
 * reply: `ask|answer channel|lines`. A reply over the channel brings a descriptor.
 *
 * `channel` is an FdChannel, `lines` a net.Socket with one line of JSON for each value, `ipc` process.send.
 */
import { FdChannel, OwnedFd } from 'fdpasser';
import { JsonLines } from './json-lines.js';
import { deferred, passed, serve, SOCKET, VALUE } from './side.js';

const [mode, way] = process.argv.slice(2);
const UNDER_WAY = { send: 256, ask: 64 }[mode];
/** Lent from an OwnedFd, so the kernel need not be asked at each reply whether the number is open. */
const lent = new OwnedFd(passed);
const wire = { channel: () => new FdChannel(SOCKET), lines: () => new JsonLines(SOCKET), ipc: () => process }[way]();

const asks = mode === 'send' || mode === 'ask';
const runs = { send, ask, receive: way === 'channel' ? receiveFromChannel : receive, answer: answers() };
await serve(runs[mode], { receives: !asks });

function send(total) {
  const once = {
    channel: () => wire.send(VALUE),
    lines: () => new Promise((resolve) => wire.send(VALUE, resolve)),
    ipc: () => new Promise((resolve) => process.send(VALUE, resolve)),
  }[way];
  return several(total, once);
}

async function receiveFromChannel(total) {
  for (let left = total; left > 0; left--) await wire.receive();
}

async function receive(total) {
  const { promise, resolve } = deferred();
  let left = total;
  const received = () => --left === 0 && resolve();
  wire.on('message', received);
  await promise;
  wire.off('message', received);
}

async function ask(total) {
  if (way === 'channel') {
    await several(total, async () => {
      const { fds } = await wire.request(VALUE);
      fds[0].close();
    });
    return;
  }
  const waiting = new Map();
  const replied = ({ id }) => {
    waiting.get(id)();
    waiting.delete(id);
  };
  let next = 0;
  wire.on('message', replied);
  await several(total, () => {
    const id = next++;
    wire.send({ ...VALUE, id });
    return new Promise((resolve) => waiting.set(id, resolve));
  });
  wire.off('message', replied);
}

function answers() {
  if (way !== 'channel')
    return async (total) => {
      const { promise, resolve } = deferred();
      let left = total;
      const asked = ({ id }) => wire.send({ ...VALUE, id }, --left === 0 ? resolve : undefined);
      wire.on('message', asked);
      await promise;
      wire.off('message', asked);
    };
  return async (total) => {
    const replies = [];
    for (let left = total; left > 0; left--) {
      const message = await wire.receive();
      replies.push(message.reply(VALUE, [lent], { keepOpen: true }));
    }
    await Promise.all(replies);
  };
}

/** Does it so many times, several at a time. */
async function several(total, once) {
  let left = total;
  const one = async () => {
    while (left-- > 0) await once();
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, one));
}
