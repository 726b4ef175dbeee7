import { constants, openSync, readFileSync } from 'node:fs';
import { OwnedFd, type Kind } from '../../index.js';
import type { Descriptor } from './process.js';

/** Linux's value, which Node has no constant for. */
const O_PATH = 0o10000000;

/**
 * The server of one of these may never answer. Only these are asked about a file opened with O_PATH
 * (d_weak_revalidate).
 */
const REMOTE = /^(nfs4?|9p|afs|ceph|cifs|smb3)$/;

/** The types of the file systems that a process sees, by the numbers of their mounts. */
export function mountsOf(pid: number): Map<number, string> {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trimEnd().split('\n');
  return new Map(lines.map((line) => [parseInt(line, 10), / - (\S+) /.exec(line)?.[1] ?? '']));
}

/**
 * The kind of what is open there, except for sockets. No file system is asked: a peer may serve it, or its server may
 * be gone. So on a network file system anything that was not opened as a directory is reported as a file.
 */
export function kindOf(pid: number, { fd, link, flags, mount }: Descriptor, mounts: Map<number, string>): Kind {
  if (link.startsWith('pipe:')) return 'fifo';
  if (link.startsWith('anon_inode:')) return 'anonymous';
  if (/^\/dev\/(pts\/|ptmx|tty)/.test(link)) return 'tty';
  if (REMOTE.test(mounts.get(mount) ?? '')) return flags & constants.O_DIRECTORY ? 'directory' : 'file';
  const place = new OwnedFd(openSync(`/proc/${pid}/fd/${fd}`, O_PATH));
  try {
    return place.kind;
  } finally {
    place.close();
  }
}
