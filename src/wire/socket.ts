import { invalidValue } from '../common/arguments.js';
import { Custody } from '../descriptor/custody.js';
import type { FdLike } from '../descriptor/fd-like.js';
import { checked } from '../errors.js';
import { typeOf, type SocketType } from '../native/kinds.js';
import { addon } from '../native/load.js';

/** What a socket must be, and how it is taken over. */
export interface Terms {
  /** Those that it may have. */
  readonly types: readonly SocketType[];
  /** Bytes of it that its sender had read are read here first. Without this, a socket that has any is refused. */
  readonly readsUnread?: boolean;
  /** Leave O_NONBLOCK as it is. */
  readonly keepBlocking?: boolean;
}

/**
 * Takes over one end of a connected AF_UNIX socket, close-on-exec from now on, for `use` to build on. If anything
 * throws, the caller owns it as before. `name` is the caller's argument.
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
 * Checks that a socket can carry a link, and returns its type: throws `ENOTSOCK` or `EAFNOSUPPORT` for what is no
 * AF_UNIX socket, `EINVAL` for one that listens.
 */
export function checkSocket(fd: number): SocketType {
  const advice = `Descriptor ${fd} is not one end of a connected AF_UNIX socket`;
  return typeOf(checked(addon.socketType(fd), 'getsockopt', { advice }));
}
