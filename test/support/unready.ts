import type { Socket } from 'node:net';
import { connection } from './connection.js';

/** More bytes than the kernel buffers for a client that does not read. */
const MUCH = Buffer.alloc(16 << 20);

/**
 * A connection that cannot be sent yet, because its client does not read what was written to it. `release` ends both,
 * so that sends behind it go on.
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
