import { invalidValue } from '../common/arguments.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { checked } from '../errors.js';
import { typeOf, type SocketType } from '../native/kinds.js';
import { addon } from '../native/load.js';

/** What kind of socket is accepted, and how it is taken over. */
export interface Terms {
  /** The types that are accepted. */
  readonly types: readonly SocketType[];
  /**
   * Whether the bytes that its sender had read from it are read first here. Otherwise a socket with such bytes is
   * refused.
   */
  readonly readsUnread?: boolean;
  /** Whether O_NONBLOCK is left as it is. */
  readonly keepBlocking?: boolean;
}

/**
 * Takes over one end of a connected AF_UNIX socket, makes it close-on-exec, and calls `use` with it. If anything
 * throws, the caller owns the socket as before. `name` is the caller's name for the argument.
 */
export function takeSocket<R>(
  name: string,
  fh: FdLike,
  terms: Terms,
  use: (socket: Custody, type: SocketType) => R,
): R {
  const socket = new Custody(name, fh);
  try {
    const type = checkSocket(socket.fd);
    if (!terms.types.includes(type)) throw invalidValue(name, `a ${terms.types.join(' or ')} socket`, fh);
    if (terms.readsUnread !== true) socket.refuseUnread();
    checked(addon.closeOnExec(socket.fd), 'fcntl');
    if (terms.keepBlocking !== true) checked(addon.setNonblocking(socket.fd), 'fcntl');
    return use(socket, type);
  } catch (error) {
    socket.giveBack();
    throw error;
  }
}

/**
 * Checks that a socket can carry a link, and returns its type. Throws `ENOTSOCK` or `EAFNOSUPPORT` if it is no AF_UNIX
 * socket, and `EINVAL` if it listens.
 */
export function checkSocket(fd: number): SocketType {
  const advice = `Descriptor ${fd} is not one end of a connected AF_UNIX socket`;
  return typeOf(checked(addon.socketType(fd), 'getsockopt', { advice }));
}
