/** The path of a listener: taken where nobody else is, and taken away only while it still is that one. */
import { lstatSync, rmSync, unlinkSync, type BigIntStats } from 'node:fs';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { checked, pathForbidden, systemError } from '../errors.js';
import { addon } from '../native/load.js';
import { address } from './address.js';
import { typeNumber } from '../native/kinds.js';

/** What a socket is bound with. */
export interface Bind {
  type: number;
  mode: number;
  backlog: number;
}

const { EACCES, EADDRINUSE, EAGAIN, ECONNREFUSED, EMFILE, ENFILE, ENOENT, EPERM, EROFS } = constants.errno;
const LINUX = process.platform === 'linux' || process.platform === 'android';

/** Others may take a path, and leave it, while it is being bound: it is tried so many times. */
const ATTEMPTS = 10;

/**
 * Nothing tells which file a socket was bound to, and an instant later something else may be at the path. So on Linux
 * it is bound without its owner's reading, which nobody needs to connect and no other socket lacks: what stands there
 * with no permissions beyond those was bound here. Elsewhere its own mode must do, which is not changed any more.
 */
const MARK = LINUX ? 0o400 : 0;

/** Where a socket of this process was bound. */
export class Place {
  readonly #path: string;
  readonly #socket: BigIntStats;

  /** `path` may be relative. A later chdir does not matter, unless an absolute one would not be found now. */
  constructor(path: string, socket: BigIntStats) {
    const absolute = resolve(path);
    this.#path = leadsTo(absolute, socket) ? absolute : path;
    this.#socket = socket;
  }

  isHeld(): boolean {
    return isSame(this.#path, this.#socket);
  }

  /** Takes the path away, unless something else is there by now. */
  leave(): void {
    if (this.isHeld()) rmSync(this.#path, { force: true });
  }
}

/** The place of a socket that was bound elsewhere: what is at its path now, if that is a socket. */
export function placeOf(path: string): Place | undefined {
  const found = lookAt(path);
  return found?.isSocket() ? new Place(path, found) : undefined;
}

/**
 * Binds the path and listens, replacing a dead socket. Of processes that replace the same one at the same time, one
 * comes first.
 */
export function bindPath(path: string, bind: Bind): [fd: number, place: Place] {
  checkPermission(path);
  let mark = MARK;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const fd = addon.listen(bind.type, address(path, 'bind'), bind.mode & ~mark, bind.backlog);
    if (fd === -EADDRINUSE) makeRoom(path);
    else if (fd === -ENOENT) throw systemError(fd, 'bind', { path, advice: 'The folder must be there' });
    else if (fd < 0) throw systemError(fd, 'bind', { path });
    else {
      try {
        const place = settle(path, bind.mode, mark);
        if (place !== undefined) return [fd, place];
        addon.closeAlone(fd);
      } catch (error) {
        addon.closeAlone(fd);
        if (mark === 0) throw error;
        mark = 0; // a sandbox may refuse to have a mode changed
      }
    }
  }
  throw inUse(path, 'Others take it, and give it up, all the time');
}

/** The permission model of Node does not see what the core makes, and would forbid to take it away. */
function checkPermission(path: string): void {
  const { permission } = process;
  if (permission === undefined) return;
  const absolute = resolve(path);
  for (const right of ['fs.read', 'fs.write'] as const)
    if (!permission.has(right, absolute)) throw pathForbidden(right, absolute);
}

/**
 * Looks who is at the path, and gives it its whole mode: of that with which it was bound the umask took bits away.
 * Returns `undefined` when the socket has lost its path.
 */
function settle(path: string, mode: number, mark: number): Place | undefined {
  const bound = mode & ~mark;
  const found = lookAt(path);
  if (found === undefined || !found.isSocket() || Number(found.mode & 0o777n) & ~bound) return undefined;
  const place = new Place(path, found);
  const whole = Number(found.mode & 0o777n) === mode;
  const result = LINUX && !whole ? addon.setMode(address(path, 'chmod'), bound, mode) : 0;
  if (!place.isHeld()) return undefined;
  if (result < 0) {
    place.leave();
    throw systemError(result, 'chmod', { path });
  }
  return place;
}

/** Takes a dead socket away. Throws when something else is there. */
function makeRoom(path: string): void {
  const found = lookAt(path);
  if (found === undefined) return;
  if (!found.isSocket()) throw inUse(path, 'Something that is not a socket is there, and stays there');
  if (isAlive(path)) throw inUse(path, 'A socket in use is there');
  try {
    removeDead(path, found);
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno !== -EACCES && errno !== -EPERM && errno !== -EROFS) throw error;
    throw systemError(errno, 'unlink', { path, advice: 'A dead socket is there, and this user may not remove it' });
  }
}

/**
 * Asks the kernel, without a connection that its owner would have to accept: a datagram socket cannot be connected to a
 * stream, but only a socket that nobody has open refuses.
 */
function isAlive(path: string): boolean {
  const result = addon.connect(typeNumber('dgram'), address(path, 'connect'));
  if (result >= 0) addon.close(result);
  if (result === -EACCES) throw inUse(path, 'A socket is there of which this user may not know whether it is in use');
  if (result === -EMFILE || result === -ENFILE) throw systemError(result, 'connect', { path });
  return result !== -ECONNREFUSED && result !== -ENOENT;
}

/**
 * Of the processes that do this at the same time one does it; the others must not remove what that one has bound there
 * meanwhile. So each locks a file beside the path, which is there no longer than the lock. That needs no right which
 * binding does not: the folder itself can be locked only by those who may read it.
 */
function removeDead(path: string, dead: BigIntStats): void {
  const file = `${path}.fdpasser-lock`;
  checkPermission(file);
  const lock = addon.lock(Buffer.from(`${file}\0`));
  if (lock === -EAGAIN) throw inUse(path, 'Another process is replacing the dead socket there');
  checked(lock, 'flock', { path });
  try {
    if (isSame(path, dead) && !isAlive(path)) unlinkSync(path);
  } finally {
    rmSync(file, { force: true });
    addon.close(lock);
  }
}

function inUse(path: string, advice: string): Error {
  return systemError(-EADDRINUSE, 'bind', { path, advice });
}

/** Whether the path can be followed, and to this socket. */
function leadsTo(path: string, socket: BigIntStats): boolean {
  try {
    return isSame(path, socket);
  } catch {
    return false;
  }
}

function isSame(path: string, stats: BigIntStats): boolean {
  const there = lookAt(path);
  return there !== undefined && there.dev === stats.dev && there.ino === stats.ino;
}

function lookAt(path: string): BigIntStats | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false });
}
