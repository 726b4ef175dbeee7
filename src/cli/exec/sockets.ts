/** The listening sockets that outlive every program that serves them. */
import { createServer, isIP, type ListenOptions } from 'node:net';
import { once } from 'node:events';
import { listen, OwnedFd, type FdServer } from '../../index.js';
import { checked } from '../../errors.js';
import { addon } from '../../native/load.js';
import { listenFds } from '../../systemd/index.js';
import { Failure, Misuse, socketPath } from '../command.js';

export interface Socket {
  /** Its name in LISTEN_FDNAMES. */
  readonly name: string;
  readonly held: OwnedFd | FdServer;
}

/** The name of a socket that has none, as with systemd. */
const UNNAMED = 'unknown';

/** The sockets that a service manager passed, followed by those of `--listen`. */
export async function openSockets(addresses: readonly string[]): Promise<Socket[]> {
  const sockets = [...listenFds()].flatMap(([name, fds]) => fds.map((held): Socket => ({ name, held })));
  for (const text of addresses) {
    const socket = await open(text);
    sockets.push(socket);
    checked(addon.setBlocking(socket.held.fd), 'fcntl'); // as systemd passes them; a program can change it
  }
  return sockets;
}

/** `[NAME=]ADDRESS`, where ADDRESS is PORT, HOST:PORT, a path or an abstract name. */
async function open(text: string): Promise<Socket> {
  const [, name = UNNAMED, address] = /^(?:([\w.-]+)=)?(.+)$/.exec(text) ?? [];
  if (address === undefined) throw wrong(text);
  if (/[/@]/.test(address)) return { name, held: listen(socketPath(address), { mode: 0o777 & ~process.umask() }) };
  return { name, held: await openTcp(endpoint(address)) };
}

function endpoint(address: string): { port: number; host?: string } {
  const [, bracketed, plain, digits] = /^(?:(?:\[([^\]]+)\]|([^:]+)):)?(\d{1,5})$/.exec(address) ?? [];
  const port = Number(digits);
  const host = bracketed ?? plain;
  if (digits === undefined || port > 65_535 || (bracketed !== undefined && isIP(bracketed) !== 6)) throw wrong(address);
  return host === undefined ? { port } : { port, host };
}

/**
 * The socket is taken out of Node's server before the event loop turns, because the server would accept connections.
 */
async function openTcp(options: ListenOptions): Promise<OwnedFd> {
  const server = createServer().listen({ ...options, exclusive: true });
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new Failure((error as Error).message);
  }
  return OwnedFd.detach(server);
}

function wrong(text: string): Misuse {
  return new Misuse(`--listen ${text} must be PORT, HOST:PORT, a path with a /, or an abstract @NAME`);
}
