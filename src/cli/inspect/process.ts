/** What /proc shows of a process: proc(5). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Process {
  readonly pid: number;
  readonly command: string;
  readonly user: User;
}

export interface User {
  readonly uid: number;
  /** The name in /etc/passwd. */
  readonly name?: string;
}

/** An open descriptor, by its link and its `fdinfo`. */
export interface Descriptor {
  readonly fd: number;
  readonly link: string;
  /** The flags of open(2). */
  readonly flags: number;
  readonly mount: number;
  /** How many descriptors lie in it unread, when it is a Unix socket. */
  readonly inFlight: number;
}

/** Throws `ENOENT` where there is none. */
export function processOf(pid: number): Process {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const [, name] = /^Name:\t(.*)$/m.exec(status)!;
  const [, uid] = /^Uid:\t\d+\t(\d+)/m.exec(status)!;
  const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  return { pid, command: command || `[${name}]`, user: userOf(Number(uid)) };
}

export function userOf(uid: number): User {
  const line = new RegExp(`^([^:\n]*):[^:\n]*:${uid}:`, 'm').exec(readFileSync('/etc/passwd', 'utf8'));
  return line === null ? { uid } : { uid, name: line[1]! };
}

/** In the order of their numbers. Throws `EACCES` for a process of another user. */
export function descriptorsOf(pid: number): Descriptor[] {
  return readdirSync(`/proc/${pid}/fd`)
    .map(Number)
    .toSorted((a, b) => a - b)
    .flatMap((fd) => {
      try {
        return [descriptor(pid, fd)];
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // closed meanwhile
        throw error;
      }
    });
}

function descriptor(pid: number, fd: number): Descriptor {
  const link = readlinkSync(`/proc/${pid}/fd/${fd}`);
  const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1');
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\d+)$`, 'm').exec(info)?.[1] ?? '0';
  const [mount, inFlight] = [Number(field('mnt_id')), Number(field('scm_fds'))];
  return { fd, link, flags: parseInt(field('flags'), 8), mount, inFlight };
}

/** The inode of a socket, if this is the link of one. */
export function socketInode(link: string): number | undefined {
  const [, inode] = /^socket:\[(\d+)\]$/.exec(link) ?? [];
  return inode === undefined ? undefined : Number(inode);
}

/** The processes that have these sockets, among those that may be inspected. */
export function holdersOf(inodes: ReadonlySet<number>): Map<number, number[]> {
  const holders = new Map<number, number[]>();
  for (const pid of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number))
    for (const inode of socketsOf(pid)) if (inodes.has(inode)) holders.set(inode, [...(holders.get(inode) ?? []), pid]);
  return holders;
}

/** Empty for a process that has ended or belongs to another user. */
function socketsOf(pid: number): Set<number> {
  const found = new Set<number>();
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const inode = socketInode(readlinkSync(`/proc/${pid}/fd/${fd}`));
      if (inode !== undefined) found.add(inode);
    }
  } catch {
    return found;
  }
  return found;
}
