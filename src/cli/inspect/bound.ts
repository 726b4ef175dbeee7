/** Who has a socket bound to a path or abstract name. */
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
  /** Who made it, where the kernel tells. */
  readonly user?: User;
  /** Connections that nobody has accepted, of one that listens, or bytes that nobody has read. */
  readonly waiting?: number;
  readonly unread?: number;
  /** Who has it, of those that may be looked at. */
  readonly processes: readonly Process[];
}

/** None where nobody has. Throws a `Failure` for what is no socket, and as `lstat` does for what is not there. */
export function boundTo(path: string): Bound[] {
  const place = path.startsWith('@') ? undefined : placeOf(path);
  const details = unixDetails();
  // What a listener has accepted has its name, too.
  const sockets = [...socketsSeenBy(process.pid)].filter(
    ([inode, { kind, listens, local }]) =>
      (listens || kind === 'unix-dgram') && (local === path || isSame(details.get(inode)?.place, place)),
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

/** As the kernel numbers it: a socket may have been bound by another name for the same place. */
function placeOf(path: string): Place {
  const stat = lstatSync(realpathSync(path));
  if (!stat.isSocket()) throw new Failure(`"${path}" is no socket`);
  const major = (stat.dev >>> 8) & 0xfff;
  const minor = (stat.dev & 0xff) | ((stat.dev >>> 12) & 0xfff00);
  return { dev: ((major << 20) | minor) >>> 0, ino: Number(BigInt.asUintN(32, BigInt(stat.ino))) };
}

function isSame(one: Place | undefined, other: Place | undefined): boolean {
  return one !== undefined && one.dev === other?.dev && one.ino === other.ino;
}
