import type { FdLike } from '../descriptor/fd-like.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { builtin } from '../common/lazy-modules.js';
import { checkOptions, invalidType, invalidValue, type Names } from '../common/arguments.js';
import { address, isAbstract } from '../endpoint/address.js';
import { listen, type ListenOptions, type TcpListenOptions } from '../endpoint/listen.js';
import { anchored } from '../endpoint/path.js';
import { FdServer, type ServerOptions } from '../endpoint/server.js';
import { TcpServer } from '../endpoint/tcp-server.js';
import { wantedOfServer, type Wanted } from '../takeover/listeners/wanted.js';
import type { Shared } from './shared.js';

/** What a supervisor is to listen on. */
export interface Place {
  readonly wanted: Wanted;
  /** As it was given, which may be a relative one. */
  readonly path?: string;
  /** Where nobody hands it over. */
  bind(): Bound | Promise<Bound>;
  /** The listening socket of a predecessor. */
  adopt(socket: OwnedFd): Bound;
}

export type Bound = FdServer | TcpServer;

/** A listening socket that is there already. */
export interface GivenSocket {
  /** It is the supervisor's from now on. Whoever may connect to it is served. */
  fd: FdLike;
}

const GIVEN: Names<GivenSocket> = { fd: true };

export function placeOf(at: string | TcpListenOptions | GivenSocket, options: ListenOptions = {}): Place {
  if (typeof at === 'string') {
    address(at, 'bind'); // checks it
    if (typeof options !== 'object' || options === null) throw invalidType('options', 'an object', options);
    const { allow, type = 'stream' } = options;
    if (type !== 'stream') throw invalidValue('options.type', "'stream', the type of what servers serve", type);
    const bind = (): Bound => listen(anchored(at), options);
    return { wanted: wantedOfServer([at]), path: at, bind, adopt: pathOf({ allow }) };
  }
  if (typeof at !== 'object' || at === null) throw invalidType('options', 'an object, or a path', at);
  if ('fd' in at) {
    const { fd } = checkOptions(at, GIVEN);
    return { wanted: { kind: 'nameless', anyPort: false }, bind: () => serverOf(fd), adopt: serverOf };
  }
  return { wanted: wantedOfServer([at]), bind: () => listen(at), adopt: portOf };
}

const portOf = (socket: OwnedFd): Bound => TcpServer.from(socket);

function pathOf(who: ServerOptions): Place['adopt'] {
  return (socket) => FdServer.from(socket, { ...who, ownsPath: true });
}

/** Whoever may connect: whoever made the socket has chosen the permissions of its path. */
const ALL: ServerOptions = { allow: () => true };

function serverOf(fd: FdLike): Bound {
  try {
    return TcpServer.from(fd);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT') throw error;
    const server: FdServer = FdServer.from(fd, { allow: ({ uid }) => !isAbstract(server.path) || isOurs(uid) });
    return server;
  }
}

/** An abstract name has no permissions. */
const isOurs = (uid: number): boolean => uid === process.geteuid?.();

const PATH_MODE = 0o777;

/** What a program in a worker has asked for, as Node itself would listen. */
export function sharedPlace(at: Shared): Place {
  const wanted = wantedOfServer([at]);
  const { path } = at;
  if (path === undefined) return { wanted, bind: () => bindPort(at), adopt: portOf };
  return { wanted, bind: () => bindPath(path, at), adopt: pathOf(ALL) };
}

async function bindPort({ port = 0, host, backlog, ipv6Only }: Shared): Promise<Bound> {
  const options: TcpListenOptions = { port };
  if (host !== undefined) options.host = await addressOf(host);
  if (backlog !== undefined) options.backlog = backlog;
  if (ipv6Only !== undefined) options.ipv6Only = ipv6Only;
  return listen(options);
}

async function addressOf(host: string): Promise<string> {
  if (builtin.net.isIP(host) !== 0) return host;
  return new Promise((resolve, reject) => {
    builtin.dns.lookup(host, (error, address) => (error ? reject(error) : resolve(address)));
  });
}

function bindPath(path: string, { backlog = 511, readableAll = false, writableAll = false }: Shared): Bound {
  const mode = (PATH_MODE & ~process.umask()) | (readableAll ? 0o444 : 0) | (writableAll ? 0o222 : 0);
  return listen(path, { mode, backlog, ...ALL });
}
