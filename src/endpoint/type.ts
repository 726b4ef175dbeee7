import { invalidValue } from '../errors.js';

/** In the order of `enum fdp_type`. */
const TYPES = ['stream', 'seqpacket', 'dgram'] as const;

/** The type of an AF_UNIX socket: SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM. */
export type SocketType = (typeof TYPES)[number];

/** The number of a type for the C core. */
export function typeNumber(type: SocketType): number {
  const number = TYPES.indexOf(type);
  if (number < 0) throw invalidValue('options.type', TYPES.map((name) => `'${name}'`).join(' or '), type);
  return number;
}
