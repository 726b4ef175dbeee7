import type { Server, Socket } from 'node:net';
import { replace } from '../../descriptor/node-internals.js';
import { connectTo, type OwnedFd } from '../../descriptor/owned-fd.js';

/**
 * Makes a moved connection one of the server's, also beyond `maxConnections`: its client was let in already. `begin` is
 * called with it before any listener, and if it returns false, no listener is called. Returns `undefined` when the
 * server has dropped it.
 */
export function takeIn(server: Server, fd: OwnedFd, begin: (socket: Socket) => boolean): Socket | undefined {
  const restore = replace(server, 'maxConnections', undefined);
  let begun = false;
  try {
    return connectTo(fd, server, (socket) => {
      begun = true;
      restore();
      return begin(socket);
    });
  } finally {
    if (!begun) restore();
  }
}
