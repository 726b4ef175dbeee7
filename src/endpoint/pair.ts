import { ownMade, type OwnedFd } from '../descriptor/owned-fd.js';
import { checkOptions, type Names } from '../common/arguments.js';
import { checked } from '../errors.js';
import { addon, batch } from '../native/load.js';
import { typeNumber, type SocketType } from '../native/kinds.js';

const PAIR: Names<{ type?: SocketType | undefined }> = { type: true };

/**
 * Makes a connected pair of AF_UNIX sockets (socketpair(2)). Both are yours to close, close-on-exec, and blocking, as
 * programs that inherit one expect. An `FdPasser` that is made from the pair sets both to non-blocking unless told not
 * to. Throws `EMFILE` or `ENFILE` if there is no room for them.
 */
export function socketpair(options: { type?: SocketType | undefined } = {}): [OwnedFd, OwnedFd] {
  const { type = 'stream' } = checkOptions(options, PAIR);
  checked(addon.pair(typeNumber(type)), 'socketpair');
  return [ownMade(batch.fd[0]!), ownMade(batch.fd[1]!)];
}
