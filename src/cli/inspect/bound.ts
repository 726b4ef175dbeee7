/** Which processes have a socket bound to a path or abstract name. */
import { lstatSync, realpathSync } from 'node:fs';
import type { Kind } from '../../index.js';
import { Failure } from '../command.js';
import { queueOf } from './open.js';
import { holdersOf, processOf, userOf, type Process, type User } from './process.js';
import { socketsSeenBy } from './sockets.js';
import { unixDetails, type UnixDetails } from './unix-diag.js';

export interface Bound {
  readonly kind: Kind;
  readonly listens: boolean;
  /** The user who made it, where the kernel tells. */
  readonly user?: User;
  /** The number of connections that nobody has accepted, if it listens, or else of unread bytes. */
  readonly waiting?: number;
  readonly unread?: number;
  /** The processes that have it, among those that may be inspected. */
  readonly processes: readonly Process[];
}

/** Empty when no process has one. Throws a `Failure` for anything but a socket, and what `lstat` throws. */
export function boundTo(path: string): Bound[] {
  const place = path.startsWith('@') ? undefined : placeOf(path);
  const details = unixDetails();
  // A relative name says nothing where the place is known: another process may have bound it in another folder.
  const isAt = (name: string | undefined, found: Place | undefined): boolean =>
    place === undefined || found === undefined ? name === path : isSame(found, place);
  // Connections that a listener has accepted have its name, too.
  const sockets = [...socketsSeenBy(process.pid)].filter(
    ([inode, { kind, listens, local }]) => (listens || kind === 'unix-dgram') && isAt(local, details.get(inode)?.place),
  );
  const holders = holdersOf(new Set(sockets.map(([inode]) => inode)));
  return sockets.map(([inode, socket]) => {
    const { uid } = details.get(inode) ?? {};
    const user = uid === undefined ? {} : { user: userOf(uid) };
    const processes = (holders.get(inode) ?? []).map(processOf);
    return { kind: socket.kind, listens: socket.listens, ...user, ...queueOf(socket, details.get(inode)), processes };
  });
}

type Place = NonNullable<UnixDetails['place']>;

/** The kernel's numbers of the place: a socket may have been bound under another name for it. */
function placeOf(path: string): Place {
  const stat = lstatSync(realpathSync(path));
  if (!stat.isSocket()) throw new Failure(`"${path}" is not a socket`);
  const major = (stat.dev >>> 8) & 0xfff;
  const minor = (stat.dev & 0xff) | ((stat.dev >>> 12) & 0xfff00);
  return { dev: ((major << 20) | minor) >>> 0, ino: Number(BigInt.asUintN(32, BigInt(stat.ino))) };
}

function isSame(one: Place, other: Place): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}
