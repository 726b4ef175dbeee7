/** Sockets in /proc/PID/net, which shows the network namespace of that process. */
import { readFileSync } from 'node:fs';
import type { Kind } from '../../index.js';

export interface Socket {
  readonly kind: Kind;
  /** An address and port, or a path; `@` stands for the NUL of an abstract name. Undefined if it has no name. */
  readonly local?: string;
  readonly remote?: string;
  readonly state?: string;
  readonly listens: boolean;
  /** Bytes that nobody has read. */
  readonly unread?: number;
  /** For a listener: connections that nobody has accepted. */
  readonly waiting?: number;
}

/** In the order of Linux's include/net/tcp_states.h, from 1. */
const STATES =
  ' established syn-sent syn-received fin-wait-1 fin-wait-2 time-wait closed close-wait last-ack listens closing'.split(
    ' ',
  );
const LISTENS = STATES.indexOf('listens');

const UNIX_KINDS: Readonly<Record<number, Kind>> = { 1: 'unix-stream', 2: 'unix-dgram', 5: 'unix-seqpacket' };
/** In the flags of /proc/net/unix (__SO_ACCEPTCON in Linux's include/linux/net.h). */
const ACCEPTS = 0x1_0000;

/** All sockets in the namespace of the process, by their inodes. */
export function socketsSeenBy(pid: number): Map<number, Socket> {
  const found = new Map<number, Socket>();
  for (const [table, kind] of [
    ['tcp', 'tcp'],
    ['tcp6', 'tcp'],
    ['udp', 'udp'],
    ['udp6', 'udp'],
  ] as const)
    for (const fields of linesOf(pid, table)) found.set(Number(fields[9]), internetSocket(kind, fields));
  for (const line of textOf(pid, 'unix')) {
    const [, flags, type, inode, name] = UNIX.exec(line) ?? [];
    if (inode !== undefined) found.set(Number(inode), unixSocket(parseInt(flags!, 16), parseInt(type!, 16), name));
  }
  for (const [table, column] of [
    ['netlink', 9],
    ['packet', 8],
    ['raw', 9],
    ['raw6', 9],
  ] as const)
    for (const fields of linesOf(pid, table))
      found.set(Number(fields[column]), { kind: 'socket', local: table, listens: false });
  return found;
}

/** Num RefCount Protocol Flags Type St Inode Path */
const UNIX = /^\S+ \S+ \S+ (\S+) (\S+) \S+\s+(\d+)(?: (.*))?$/;

function unixSocket(flags: number, type: number, name: string | undefined): Socket {
  const named = name === undefined ? {} : { local: name };
  return { kind: UNIX_KINDS[type] ?? 'socket', ...named, listens: (flags & ACCEPTS) !== 0 };
}

function internetSocket(kind: Kind, fields: readonly string[]): Socket {
  const [, local, remote, stateNumber, queues] = fields;
  const state = parseInt(stateNumber!, 16);
  const unread = parseInt(queues!.split(':')[1]!, 16);
  const from = { kind, local: address(local!) };
  if (kind === 'tcp' && state === LISTENS) return { ...from, listens: true, waiting: unread };
  const connected = remote!.endsWith(':0000') ? {} : { remote: address(remote!) };
  return { ...from, ...connected, ...(kind === 'tcp' ? { state: STATES[state]! } : {}), listens: false, unread };
}

/** As `0100007F:1F90`: words of 32 bits in the order of this machine's bytes, and the port. */
function address(text: string): string {
  const [host, port] = text.split(':') as [string, string];
  const bytes = Buffer.from(host, 'hex');
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) bytes.swap32();
  const number = parseInt(port, 16);
  if (bytes.length === 4) return `${bytes.join('.')}:${number}`;
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return `${new URL(`http://[${groups.join(':')}]`).hostname}:${number}`;
}

function linesOf(pid: number, table: string): string[][] {
  return textOf(pid, table).map((line) => line.trim().split(/\s+/));
}

/** The lines without the heading. Empty where the kernel has no such sockets. */
function textOf(pid: number, table: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/net/${table}`, 'utf8').trimEnd().split('\n').slice(1);
  } catch {
    return [];
  }
}
