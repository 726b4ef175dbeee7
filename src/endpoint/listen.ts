import { constants } from 'node:os';
import {
  checkBoolean,
  checkInteger,
  checkOptions,
  invalidType,
  invalidValue,
  type Names,
} from '../common/arguments.js';
import { Custody } from '../descriptor/custody.js';
import { ownMade } from '../descriptor/owned-fd.js';
import { checked, systemError } from '../errors.js';
import { IPV6_ONLY, REUSE_PORT } from '../native/addon.js';
import { typeNumber, type SocketType } from '../native/kinds.js';
import { addon } from '../native/load.js';
import { address, isAbstract } from './address.js';
import { bindPath, type Bind } from './path.js';
import { checkAllow, FdServer, type ServerOptions } from './server.js';
import type { PeerCredentials } from './credentials.js';
import { TcpServer } from './tcp-server.js';

export interface ListenOptions extends ServerOptions {
  /** How many connections may wait to be accepted, at most the system's `somaxconn` (listen(2)). Default 511. */
  backlog?: number | undefined;
  /** The permissions of the path, which never has any beyond these. Default 0o600. */
  mode?: number | undefined;
  /**
   * The type of the socket. Default `'stream'`. A datagram socket has no connections: `accept` returns a duplicate of
   * the socket itself.
   */
  type?: SocketType | undefined;
  /** Not for datagrams, because the kernel does not tell who sent one. There `mode` says who may send. */
  allow?: ((peer: PeerCredentials) => boolean) | undefined;
}

const LISTEN: Names<ListenOptions> = { backlog: true, mode: true, type: true, allow: true };

export interface TcpListenOptions {
  /** 0 to 65535. 0 stands for a free one, which `address` then tells. */
  port: number;
  /**
   * The numeric address of an interface. Default: `'::'`, which means all of them, or `'0.0.0.0'` where there is no
   * IPv6.
   */
  host?: string | undefined;
  /** How many connections may wait to be accepted, at most the system's `somaxconn` (listen(2)). Default 511. */
  backlog?: number | undefined;
  /** Whether an IPv6 address accepts no connections of IPv4. Default false. */
  ipv6Only?: boolean | undefined;
  /**
   * Whether other sockets of this user may listen there too. The kernel shares the connections out among them. On Linux
   * and FreeBSD only. Default false.
   */
  reusePort?: boolean | undefined;
}

const TCP: Names<TcpListenOptions> = { port: true, host: true, backlog: true, ipv6Only: true, reusePort: true };

/**
 * Listens for TCP connections, and accepts them as `OwnedFd`s with the address of their peer. Whoever can reach the
 * port can connect.
 *
 * Throws `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` (a port below 1024), `EOPNOTSUPP` (`reusePort` on a system that does
 * not share connections out), `EMFILE`, or an argument error.
 */
export function listen(options: TcpListenOptions): TcpServer;
/**
 * Listens on an AF_UNIX socket at `path`. A path that starts with a NUL is an abstract name.
 *
 * A socket file on which nobody listens any more is replaced. Throws `EADDRINUSE` if the socket is in use, or if
 * something else is at the path. Also throws `EACCES`, `ENOENT`, `ENAMETOOLONG` and `EMFILE`. Each error has the path.
 */
export function listen(path: string, options?: ListenOptions): FdServer;
export function listen(at: string | TcpListenOptions, options: ListenOptions = {}): FdServer | TcpServer {
  if (typeof at === 'string') return listenPath(at, options);
  if (typeof at !== 'object' || at === null || !('port' in at))
    throw invalidType('path', 'a string, or an object with a port', at);
  return listenTcp(at);
}

function listenPath(path: string, options: ListenOptions): FdServer {
  address(path, 'bind');
  const { backlog = 511, mode = 0o600, type = 'stream' } = checkOptions(options, LISTEN);
  const allow = checkAllow(options);
  if (type === 'dgram' && options.allow !== undefined)
    throw invalidValue('options.allow', 'left out for datagrams', allow);
  const bind = {
    type: typeNumber(type),
    mode: checkInteger('options.mode', mode, 0, 0o777),
    backlog: checkInteger('options.backlog', backlog, 0, 0x7fffffff),
  };
  const [fd, place] = isAbstract(path) ? [bindAbstract(path, bind), undefined] : bindPath(path, bind);
  const socket = new Custody('fd', ownMade(fd));
  try {
    return new FdServer(path, socket, type === 'dgram' ? undefined : allow, place);
  } catch (error) {
    place?.leave();
    socket.close();
    throw error;
  }
}

function bindAbstract(path: string, { type, mode, backlog }: Bind): number {
  return checked(addon.listen(type, address(path, 'bind'), mode, backlog), 'bind', { path });
}

const { EAFNOSUPPORT, EADDRNOTAVAIL, EINVAL } = constants.errno;

function listenTcp(options: TcpListenOptions): TcpServer {
  const { port, host, backlog = 511, ipv6Only = false, reusePort = false } = checkOptions(options, TCP);
  checkInteger('options.port', port, 0, 0xffff);
  checkInteger('options.backlog', backlog, 0, 0x7fffffff);
  checkBoolean('options.ipv6Only', ipv6Only);
  checkBoolean('options.reusePort', reusePort);
  if (host !== undefined && typeof host !== 'string') throw invalidType('options.host', 'a string', host);
  const flags = (ipv6Only ? IPV6_ONLY : 0) | (reusePort ? REUSE_PORT : 0);
  const bind = (name: string): number =>
    name.includes('\0') ? -EINVAL : addon.tcpListen(Buffer.from(`${name}\0`), port, flags, backlog);
  let fd = bind(host ?? '::');
  // EAFNOSUPPORT: the kernel has no IPv6. EADDRNOTAVAIL: IPv6 is switched off.
  if (host === undefined && !ipv6Only && (fd === -EAFNOSUPPORT || fd === -EADDRNOTAVAIL)) fd = bind('0.0.0.0');
  if (fd === -EINVAL && host !== undefined)
    throw invalidValue('options.host', 'the numeric address of an interface (node:dns finds that of a name)', host);
  if (fd < 0) throw systemError(fd, 'listen', { path: `${host ?? '::'}:${port}` });
  const socket = new Custody('fd', ownMade(fd));
  try {
    return new TcpServer(socket);
  } catch (error) {
    socket.close();
    throw error;
  }
}
