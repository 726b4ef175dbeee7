/**
 * The path of a listener: takes one that nobody else uses, and removes it only while it still leads to that listener.
 */
import { lstatSync, rmSync, unlinkSync, type BigIntStats } from 'node:fs';
import { constants } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { checked, pathForbidden, systemError } from '../errors.js';
import { addon } from '../native/load.js';
import { address, isAbstract, SUN_PATH } from './address.js';
import { typeNumber } from '../native/kinds.js';

/** The options with which a socket is bound. */
export interface Bind {
  type: number;
  mode: number;
  backlog: number;
}

const { EACCES, EADDRINUSE, EAGAIN, ECONNREFUSED, EMFILE, ENFILE, ENOENT, EPERM, EROFS } = constants.errno;
const LINUX = process.platform === 'linux' || process.platform === 'android';

/** How often binding is tried. Others may take the path and leave it in between. */
const ATTEMPTS = 10;

/**
 * The permission that a socket lacks while it is being bound. No call tells which file a socket was bound to, and
 * something else may be at the path a moment later. So on Linux the socket is bound without read permission for its
 * owner. Nobody needs that to connect, and no other socket lacks it. A socket at the path with no permissions beyond
 * those is the one that was bound here. On other systems the mode does not change after binding, and is the only sign.
 */
const MARK = LINUX ? 0o400 : 0;

/** The place where a socket of this process was bound. */
export class Place {
  readonly #path: string;
  readonly #socket: BigIntStats;

  /**
   * `path` may be relative. It is made absolute, so that a later chdir does not matter, unless the absolute path does
   * not lead to the socket.
   */
  constructor(path: string, socket: BigIntStats) {
    const absolute = resolve(path);
    this.#path = leadsTo(absolute, socket) ? absolute : path;
    this.#socket = socket;
  }

  isHeld(): boolean {
    return isSame(this.#path, this.#socket);
  }

  /** Removes the path, unless something else is there by now. */
  leave(): void {
    if (this.isHeld()) rmSync(this.#path, { force: true });
  }
}

/** The place of a socket that was bound by somebody else: what is at its path now, if that is a socket. */
export function placeOf(path: string): Place | undefined {
  try {
    const found = lookAt(path);
    return found?.isSocket() ? new Place(path, found) : undefined;
  } catch {
    return undefined; // this user may not look there, nor remove it
  }
}

/**
 * Binds the path and listens. Replaces a dead socket. If several processes replace the same one at the same time, one
 * of them gets the path.
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
        mark = 0; // a sandbox may forbid changing a mode
      }
    }
  }
  throw inUse(path, 'Others take the path and leave it again and again');
}

/** Asks Node's permission model. It does not see what the core makes, but would forbid removing it. */
function checkPermission(path: string): void {
  const { permission } = process;
  if (permission === undefined) return;
  const absolute = resolve(path);
  for (const right of ['fs.read', 'fs.write'] as const)
    if (!permission.has(right, absolute)) throw pathForbidden(right, absolute);
}

/**
 * Checks that our socket is at the path, and gives it its full mode, because the umask has taken bits away. Returns
 * `undefined` if the socket has lost its path.
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

/** Removes a dead socket. Throws if something else is there. */
function makeRoom(path: string): void {
  const found = lookAt(path);
  if (found === undefined) return;
  if (!found.isSocket()) throw inUse(path, 'Something that is not a socket is there. It was left alone');
  if (isAlive(path)) throw inUse(path, 'A socket is there, and some process has it open');
  try {
    removeDead(path, found);
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno !== -EACCES && errno !== -EPERM && errno !== -EROFS) throw error;
    throw systemError(errno, 'unlink', { path, advice: 'A dead socket is there, and this user may not remove it' });
  }
}

/**
 * Whether a process has the socket open. Asks with a datagram socket. That cannot be connected to a stream socket, so
 * the listener never has a connection to accept. But only for a dead socket is the answer ECONNREFUSED.
 */
function isAlive(path: string): boolean {
  const result = addon.connect(typeNumber('dgram'), address(path, 'connect'));
  if (result >= 0) addon.close(result);
  if (result === -EACCES) throw inUse(path, 'A socket is there, and this user may not find out whether it is in use');
  if (result === -EMFILE || result === -ENFILE) throw systemError(result, 'connect', { path });
  return result !== -ECONNREFUSED && result !== -ENOENT;
}

/**
 * Removes a dead socket. Only one of several processes may do this at a time: the others could remove what the first
 * one has bound there meanwhile. So each locks a file beside the path, which exists only as long as the lock. That
 * needs no permission beyond those for binding. The folder itself could be locked only by those who may read it.
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

/**
 * The same path from the root on, so that a later chdir does not matter. One that would be too long for a socket's name
 * stays relative.
 */
export function anchored(path: string): string {
  if (isAbstract(path) || isAbsolute(path)) return path;
  const whole = `${process.cwd()}/${path}`;
  return Buffer.byteLength(whole) < SUN_PATH ? whole : path;
}

function inUse(path: string, advice: string): Error {
  return systemError(-EADDRINUSE, 'bind', { path, advice });
}

/** Whether the path can be followed and leads to this socket. */
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
