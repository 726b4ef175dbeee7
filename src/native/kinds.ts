/** The enumerations of `native/fdpasser.h`, by name. */
import { invalidValue } from '../common/arguments.js';

/** In the order of `enum fdp_type`. */
export const SOCKET_TYPES = ['stream', 'seqpacket', 'dgram'] as const;

/** The type of an AF_UNIX socket: SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM. */
export type SocketType = (typeof SOCKET_TYPES)[number];

/** In the order of `enum fdp_kind`. */
const KINDS = [
  'file',
  'directory',
  'fifo',
  'tty',
  'character-device',
  'block-device',
  'symlink',
  'tcp',
  'udp',
  'unix-stream',
  'unix-dgram',
  'unix-seqpacket',
  'socket',
  'anonymous',
] as const;

/**
 * What an open file is. `'symlink'` is one that was opened itself, with `O_PATH`; `'socket'` is a socket of any other
 * family or type, or the path of one that was opened with `O_PATH`; `'anonymous'` has no file behind it at all
 * (eventfd, epoll, pidfd, …). A memfd is a `'file'`.
 */
export type Kind = (typeof KINDS)[number];

/** The number of the option `type` for the core. */
export function typeNumber(type: SocketType): number {
  const number = SOCKET_TYPES.indexOf(type);
  if (number < 0) throw invalidValue('options.type', SOCKET_TYPES.map((name) => `'${name}'`).join(' or '), type);
  return number;
}

/** The type that the core told. */
export function typeOf(number: number): SocketType {
  return SOCKET_TYPES[number]!;
}

/** The kind that the core told. */
export function kindOf(number: number): Kind {
  return KINDS[number]!;
}
