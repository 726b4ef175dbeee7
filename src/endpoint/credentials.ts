import { borrow, type FdLike } from '../descriptor/fd-like.js';
import { checked } from '../errors.js';
import { addon, batch } from '../native/load.js';

/** The process at the other end of a socket. */
export interface PeerCredentials {
  /** 0 if the system does not tell it. */
  pid: number;
  uid: number;
  gid: number;
}

/**
 * Returns the process, user and group of the peer at the time when it connected, listened or made the pair (SO_PEERCRED
 * in unix(7)). The kernel tells them, so the peer cannot lie. Borrows the socket.
 *
 * Throws `ENOTSOCK`, or `ENOTCONN` if there is no peer yet. A pid may be in use by another process by now.
 */
export function peerCredentials(fd: FdLike): PeerCredentials {
  checked(addon.peer(borrow('fd', fd)), 'getsockopt', {
    advice: 'Only a connected AF_UNIX socket has a peer',
  });
  return { pid: batch.fd[0]!, uid: batch.fd[1]! >>> 0, gid: batch.fd[2]! >>> 0 };
}
