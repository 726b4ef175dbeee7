/** Closes one number behind its owner, and reports how the rest ends. */
import { closeSync, existsSync } from 'node:fs';
import { FdPasser, listen, Message, OwnedFd } from 'fdpasser';
import { anonymousFile, leftOpen, openDescriptors } from '../../support/descriptors.js';
import { turns } from '../../support/passing.js';

process.disconnect();
await turns();
const [scene, path] = process.argv.slice(2) as [string, string];
const before = openDescriptors();

function say(error: NodeJS.ErrnoException): void {
  console.log([error.code, error.syscall].filter((word) => word !== undefined).join(' '));
}

function three(): [OwnedFd, OwnedFd, OwnedFd] {
  const fds = [1, 2, 3].map(() => new OwnedFd(anonymousFile())) as [OwnedFd, OwnedFd, OwnedFd];
  closeSync(fds[0].fd);
  return fds;
}

function attempt(act: () => void): void {
  try {
    act();
  } catch (error) {
    say(error as NodeJS.ErrnoException);
  }
}

const scenes: Record<string, () => Promise<void> | void> = {
  'server accepts': async () => {
    const server = listen(path);
    closeSync(server.fd);
    await server.accept().catch(say);
    server.close();
    console.log(existsSync(path) ? 'left its path' : 'closed');
  },
  'server closes': async () => {
    const server = listen(path);
    const refused = server.accept().catch(say);
    closeSync(server.fd);
    server.close();
    await refused;
    console.log(existsSync(path) ? 'left its path' : 'closed');
  },
  message: () => {
    const message = new Message(null, three());
    attempt(() => message[Symbol.dispose]());
  },
  closeAll: () => attempt(() => OwnedFd.closeAll(three())),
  peer: async () => {
    const passer = new FdPasser();
    using other = passer.peer.dup();
    closeSync(passer.peer.fd);
    passer.iAmParent();
    const peer = new FdPasser({ fh: other });
    peer.pushSendFh(anonymousFile());
    (await passer.receive()).close();
    console.log('received');
    passer.destroy();
    peer.destroy();
  },
};

await scenes[scene]!();
if (!scene.startsWith('server')) console.log(leftOpen(before).length === 0 ? 'all closed' : leftOpen(before).join());
