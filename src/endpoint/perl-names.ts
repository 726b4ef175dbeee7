/** The endpoints, with the names that AnyEvent::FDpasser uses. */
import { borrow, type FdLike } from '../descriptor/fd-like.js';
import { ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { checked } from '../errors.js';
import { addon } from '../native/load.js';
import { connect } from './connect.js';
import { socketpair } from './pair.js';
import { listen } from './listen.js';
import { FdServer } from './server.js';

/** The same as `socketpair()`. */
export function fdpasserSocketpair(): [OwnedFd, OwnedFd] {
  return socketpair();
}

/** The same as `listen(path, { backlog })`. */
export function fdpasserServer(path: string, backlog?: number): FdServer {
  return listen(path, backlog === undefined ? {} : { backlog });
}

/**
 * The same as `server.accept()`. It also accepts from any listening descriptor, which it borrows: a socket that was
 * inherited, say. It cannot be cancelled. `FdServer.from` makes a server, which can.
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

/** The same as `connect(path)`. */
export function fdpasserConnect(path: string): Promise<OwnedFd> {
  return connect(path);
}
