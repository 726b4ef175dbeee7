/** The endpoints under the names that AnyEvent::FDpasser gave them. */
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { connect } from './connect.js';
import { socketpair } from './pair.js';
import { listen, type FdServer } from './server.js';

/** `socketpair()`. */
export function fdpasserSocketpair(): [OwnedFd, OwnedFd] {
  return socketpair();
}

/** `listen(path, { backlog })`. */
export function fdpasserServer(path: string, backlog?: number): FdServer {
  return listen(path, backlog === undefined ? {} : { backlog });
}

/** `server.accept()`. */
export function fdpasserAccept(server: FdServer): Promise<OwnedFd> {
  return server.accept();
}

/** `connect(path)`. */
export function fdpasserConnect(path: string): Promise<OwnedFd> {
  return connect(path);
}
