import { endianness } from 'node:os';
import { ADDRESS_BYTES } from '../native/addon.js';

/** An end of a TCP connection, or what a server is bound to, as node:net tells it. */
export interface TcpAddress {
  address: string;
  family: 'IPv4' | 'IPv6';
  port: number;
}

const LITTLE = endianness() === 'LE';

/** Reads the `struct fdp_address` of this place among several. */
export function addressAt(bytes: Buffer, index: number): TcpAddress {
  const start = index * ADDRESS_BYTES;
  const text = start + 3;
  return {
    address: bytes.toString('latin1', text, bytes.indexOf(0, text)),
    family: bytes[start + 2] === 1 ? 'IPv6' : 'IPv4',
    port: LITTLE ? bytes.readUInt16LE(start) : bytes.readUInt16BE(start),
  };
}
