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
 * What an open file is. Three kinds need a word: `'symlink'` is a symbolic link that was itself opened, with `O_PATH`.
 * `'socket'` is a socket of another family or type, or a socket's path that was opened with `O_PATH`. `'anonymous'` has
 * no file behind it (eventfd, epoll, pidfd and the like). A memfd is a `'file'`.
 */
export type Kind = (typeof KINDS)[number];

/** The number by which the core knows the option `type`. Throws `ERR_INVALID_ARG_VALUE` if there is no such type. */
export function typeNumber(type: SocketType): number {
  const number = SOCKET_TYPES.indexOf(type);
  if (number < 0) throw invalidValue('options.type', SOCKET_TYPES.map((name) => `'${name}'`).join(' or '), type);
  return number;
}

/** The type for a number that the core returned. */
export function typeOf(number: number): SocketType {
  return SOCKET_TYPES[number]!;
}

/** The kind for a number that the core returned. */
export function kindOf(number: number): Kind {
  return KINDS[number]!;
}
