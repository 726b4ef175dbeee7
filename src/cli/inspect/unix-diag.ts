/** What the kernel tells about Unix sockets beyond /proc: sock_diag(7), and Linux's include/uapi/linux/unix_diag.h. */
import { readSync, writeSync } from 'node:fs';
import { addon } from '../../native/load.js';
import { ownMade } from '../../descriptor/owned-fd.js';

export interface UnixDetails {
  /** The inode of the socket at the other end. */
  readonly peer?: number;
  /** The path that it is bound to: the kernel's device number, and the low 32 bits of the inode. */
  readonly place?: { readonly dev: number; readonly ino: number };
  /** Unread bytes; for a listener, connections that nobody has accepted. */
  readonly queue?: number;
  readonly uid?: number;
}

const AF_UNIX = 1;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER = 16;

/** UDIAG_SHOW_VFS, _PEER, _RQLEN and _UID. */
const SHOW = 0x02 | 0x04 | 0x10 | 0x40;
/** Their attributes. */
const [VFS, PEER, RQLEN, UID] = [1, 2, 4, 7];

/** All Unix sockets in the network namespace of this process, by their inodes. Empty where the kernel does not tell. */
export function unixDetails(): Map<number, UnixDetails> {
  const found = new Map<number, UnixDetails>();
  const fd = addon.diagSocket();
  if (fd < 0) return found;
  const socket = ownMade(fd);
  try {
    writeSync(socket.fd, request());
    const room = Buffer.alloc(65_536);
    for (;;) if (!takeMessages(room.subarray(0, readSync(socket.fd, room)), found)) return found;
  } catch {
    return found; // a sandbox refuses it
  } finally {
    socket.close();
  }
}

function request(): Buffer {
  const bytes = Buffer.alloc(HEADER + 24);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(0, bytes.length, little);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, little);
  view.setUint16(6, NLM_F_REQUEST_DUMP, little);
  bytes[HEADER] = AF_UNIX;
  view.setUint32(HEADER + 4, 0xffff_ffff, little); // in all states
  view.setUint32(HEADER + 12, SHOW, little);
  return bytes;
}

const little = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Returns whether more follow. */
function takeMessages(bytes: Buffer, found: Map<number, UnixDetails>): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER <= bytes.length;) {
    const length = view.getUint32(at, little);
    const type = view.getUint16(at + 4, little);
    if (type === NLMSG_DONE || type === NLMSG_ERROR || length < HEADER) return false;
    found.set(view.getUint32(at + HEADER + 4, little), attributes(view, at + HEADER + 16, at + length));
    at += aligned(length);
  }
  return true;
}

function attributes(view: DataView, from: number, to: number): UnixDetails {
  let found: UnixDetails = {};
  for (let at = from; at + 4 <= to;) {
    const word = (index: number): number => view.getUint32(at + 4 + index * 4, little);
    const type = view.getUint16(at + 2, little);
    if (type === VFS) found = { ...found, place: { ino: word(0), dev: word(1) } };
    else if (type === PEER) found = { ...found, peer: word(0) };
    else if (type === RQLEN) found = { ...found, queue: word(0) };
    else if (type === UID) found = { ...found, uid: word(0) };
    at += Math.max(4, aligned(view.getUint16(at, little)));
  }
  return found;
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}
