/** Receives as many descriptors as its first argument says, asked for all at once or one by one, and reports them. */
import { FdPasser, type OwnedFd } from 'fdpasser';
import { identity } from '../../support/descriptors.js';

const count = Number(process.argv[2]);
const passer = FdPasser.inherit();
const received: string[] = [];

function take(fd: OwnedFd): void {
  received.push(identity(fd.fd));
  fd.close();
  if (received.length < count) return;
  process.send!(received);
  process.disconnect();
}

if (process.argv[3] === 'at once') for (let i = 0; i < count; i++) passer.pushRecvFh(take);
else for await (const fd of passer) take(fd);
