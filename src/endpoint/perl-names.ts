/** The endpoints under the names that AnyEvent::FDpasser gave them. */
import { borrow, type FdLike } from '../descriptor/fd-like.js';
import { ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { checked } from '../errors.js';
import { addon } from '../native/load.js';
import { connect } from './connect.js';
import { socketpair } from './pair.js';
import { listen } from './listen.js';
import { FdServer } from './server.js';

/** `socketpair()`. */
export function fdpasserSocketpair(): [OwnedFd, OwnedFd] {
  return socketpair();
}

/** `listen(path, { backlog })`. */
export function fdpasserServer(path: string, backlog?: number): FdServer {
  return listen(path, backlog === undefined ? {} : { backlog });
}

/**
 * `server.accept()`, also of any listening descriptor, which is borrowed: from a socket that was inherited, say.
 * `FdServer.from` makes a server of it, which can stop waiting.
 */
export async function fdpasserAccept(listener: FdServer | FdLike): Promise<OwnedFd> {
  if (listener instanceof FdServer) return listener.accept();
  const copy = ownReceived(checked(addon.dup(borrow('listener', listener)), 'fcntl'));
  try {
    using server = FdServer.from(copy);
    return await server.accept();
  } finally {
    copy.close();
  }
}

/** `connect(path)`. */
export function fdpasserConnect(path: string): Promise<OwnedFd> {
  return connect(path);
}
