/** FdChannel: `send`, `receive`. A message is 100 bytes of JSON with one descriptor. */
import { FdChannel, OwnedFd } from 'fdpasser';
import { passed, serve, SOCKET, VALUE } from './side.js';

const channel = new FdChannel(SOCKET);
const UNDER_WAY = 256;
/** Lent from an OwnedFd, so the kernel need not be asked at each send whether the number is open. */
const lent = new OwnedFd(passed);

const mode = process.argv[2];
await serve({ send, receive }[mode], { receives: mode === 'receive' });

async function send(total) {
  let left = total;
  const sender = async () => {
    while (left-- > 0) await channel.send(VALUE, [lent], { keepOpen: true });
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, sender));
}

async function receive(total) {
  for (let left = total; left > 0; left--) {
    const { fds } = await channel.receive();
    fds[0].close();
  }
}
