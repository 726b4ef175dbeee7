import type { Socket } from 'node:net';
import { connection } from './connection.js';

/** More than a client that does not read, and the kernel, take. */
const MUCH = Buffer.alloc(16 << 20);

/**
 * A connection that cannot be sent yet: its client does not read what was written to it. `release` ends both, and so
 * lets go on what stands behind it.
 */
export async function unready(): Promise<{ socket: Socket; release: () => void }> {
  const [client, socket] = await connection();
  client.pause().on('error', () => {});
  socket.on('error', () => {}).write(MUCH);
  return {
    socket,
    release: () => {
      socket.destroy();
      client.destroy();
    },
  };
}
