/** What a process has open. */
import type { Kind } from '../../index.js';
import { kindOf, mountsOf } from './kind.js';
import { descriptorsOf, holdersOf, processOf, socketInode, type Descriptor, type Process } from './process.js';
import { socketsSeenBy, type Socket } from './sockets.js';
import { unixDetails, type UnixDetails } from './unix-diag.js';

export interface Open {
  readonly fd: number;
  readonly kind: Kind;
  /** The kernel's path or name for it. */
  readonly name: string;
  readonly socket?: Socket;
  /** For a Unix socket: the processes that have the other end. */
  readonly peers?: readonly number[];
  /** For a Unix socket: how many descriptors lie unread in it. */
  readonly descriptors?: number;
}

export interface OpenOfProcess extends Process {
  readonly open: readonly Open[];
}

/** Throws `ENOENT` when there is no such process, and `EACCES` when it may not be inspected. */
export function openOf(pid: number): OpenOfProcess {
  const process = processOf(pid);
  const descriptors = descriptorsOf(pid);
  if (descriptors.length === 0) return { ...process, open: [] }; // it may have ended: nothing else can be asked of it
  const mounts = mountsOf(pid);
  const sockets = socketsSeenBy(pid);
  const details = unixDetails();
  const peers = holdersOf(new Set(descriptors.flatMap(({ link }) => details.get(socketInode(link) ?? -1)?.peer ?? [])));
  const open = descriptors.flatMap((descriptor): Open[] => {
    const inode = socketInode(descriptor.link);
    try {
      return inode === undefined
        ? [{ fd: descriptor.fd, kind: kindOf(pid, descriptor, mounts), name: descriptor.link }]
        : [openSocket(descriptor, sockets.get(inode), details.get(inode), peers)];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // closed meanwhile
      throw error;
    }
  });
  return { ...process, open };
}

function openSocket(
  { fd, link, inFlight }: Descriptor,
  known: Socket | undefined,
  details: UnixDetails | undefined,
  peers: Map<number, number[]>,
): Open {
  // It belongs to a namespace or family that /proc does not show.
  if (known === undefined) return { fd, kind: 'socket', name: link };
  const name = known.local ?? link;
  if (!known.kind.startsWith('unix-')) return { fd, kind: known.kind, name, socket: known };
  const socket = { ...known, ...queueOf(known, details) };
  const other = details?.peer === undefined ? {} : { peers: peers.get(details.peer) ?? [] };
  return { fd, kind: known.kind, name, socket, ...other, descriptors: inFlight };
}

/** What lies in it, where the kernel tells. */
export function queueOf({ listens }: Socket, details: UnixDetails | undefined): { waiting?: number; unread?: number } {
  const { queue } = details ?? {};
  if (queue === undefined) return {};
  return listens ? { waiting: queue } : { unread: queue };
}
