import { fstatSync, readlinkSync, statfsSync } from 'node:fs';
import { constants } from 'node:os';
import { OwnedFd } from '../descriptor/owned-fd.js';
import { badEnvironment, checked, notOpenNumber } from '../errors.js';
import { addon } from '../native/load.js';
import { wholeNumber } from './environment.js';

/** SD_LISTEN_FDS_START in sd_listen_fds(3). */
const FIRST = 3;
/** More than the kernel lets any process have open: NR_OPEN_MAX in Linux's fs/file.c. */
const MOST = 2 ** 30;
/**
 * The file system of pidfds since Linux 6.9 (PID_FS_MAGIC in linux/magic.h). Its inodes are never used for a second
 * process.
 */
const PIDFS = 0x50494446;

/**
 * The descriptors that a service manager passed to this process: its sockets, and what it kept for the service
 * (`store`). The names are those of `FileDescriptorName=`; several with one name keep the order in which they were
 * passed. Where the manager gives no names, all are under `'unknown'`. The map is empty when nothing was passed to this
 * process.
 *
 * The caller owns them from now on, and they are close-on-exec. `LISTEN_PID`, `LISTEN_PIDFDID`, `LISTEN_FDS` and
 * `LISTEN_FDNAMES` are removed from the environment, so that no child takes the descriptors for its own: a second call
 * finds nothing. See sd_listen_fds(3).
 *
 * Throws `ERR_FDPASSER_ENVIRONMENT` when the variables contradict each other, `EBADF` when a descriptor is not open,
 * and `ERR_FDPASSER_OWNED` when one has an owner already. Then no descriptor was taken.
 */
export function listenFds(): Map<string, OwnedFd[]> {
  const found = new Map<string, OwnedFd[]>();
  if (isForThisProcess()) {
    const names = passedNames();
    const owned = adopt(names.length);
    for (const [index, name] of names.entries()) found.set(name, [...(found.get(name) ?? []), owned[index]!]);
  }
  for (const name of ['LISTEN_PID', 'LISTEN_PIDFDID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name];
  return found;
}

/** A process between the manager and this one may have left its own variables in the environment. */
function isForThisProcess(): boolean {
  if (wholeNumber('LISTEN_PID', 1) !== process.pid) return false;
  const wanted = process.env['LISTEN_PIDFDID'];
  if (wanted === undefined) return true;
  const own = ownPidfdId();
  return own === undefined || own === wanted;
}

/** Identifies this process, unlike earlier ones of the same pid, where the kernel supports it. */
function ownPidfdId(): string | undefined {
  const pidfd = addon.pidfd();
  if (pidfd < 0) return undefined;
  try {
    return statfsSync(`/proc/self/fd/${pidfd}`).type === PIDFS
      ? `${fstatSync(pidfd, { bigint: true }).ino}`
      : undefined;
  } finally {
    addon.close(pidfd);
  }
}

/** A name for each descriptor. */
function passedNames(): string[] {
  const count = wholeNumber('LISTEN_FDS', 0, MOST) ?? 0;
  const text = process.env['LISTEN_FDNAMES'];
  if (text === undefined) return Array.from({ length: count }, () => 'unknown');
  const names = text === '' && count === 0 ? [] : text.split(':');
  if (names.length !== count)
    throw badEnvironment('LISTEN_FDNAMES', text, `as many names as LISTEN_FDS says, which is ${count}`);
  return names;
}

/** Adopts all of them, or none if one cannot be adopted. */
function adopt(count: number): OwnedFd[] {
  const owned: OwnedFd[] = [];
  try {
    for (let fd = FIRST; fd < FIRST + count; fd++) {
      if (isOfEventLoop(fd)) throw notOpenNumber(-constants.errno.EBADF, fd);
      owned.push(new OwnedFd(fd));
    }
  } catch (error) {
    for (const fd of owned) fd.take();
    throw error;
  }
  for (const { fd } of owned) checked(addon.closeOnExec(fd), 'fcntl');
  return owned;
}

/** Node opens its own descriptors at the lowest numbers, which may be those that a manager names and has not passed. */
function isOfEventLoop(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventpoll]';
  } catch {
    return false; // it is not open, or this is not Linux
  }
}
