import { borrow, type FdLike } from '../descriptor/fd-like.js';
import { checked } from '../errors.js';
import { addon, batch } from '../native/load.js';

/** Who is at the other end of a socket. */
export interface PeerCredentials {
  pid: number;
  uid: number;
  gid: number;
}

/**
 * The process, user and group of the peer as they were when it connected, listened or made the pair (SO_PEERCRED in
 * unix(7)): the kernel's word, not the peer's. Borrows the socket.
 *
 * Throws `ENOTSOCK`, or `ENOTCONN` when there is no peer yet. Pids are reused: this names who it was, not who is there.
 */
export function peerCredentials(fd: FdLike): PeerCredentials {
  checked(addon.peer(borrow('fd', fd)), 'getsockopt', {
    advice: 'Only a connected AF_UNIX socket has a peer to ask for',
  });
  return { pid: batch.fd[0]!, uid: batch.fd[1]! >>> 0, gid: batch.fd[2]! >>> 0 };
}
