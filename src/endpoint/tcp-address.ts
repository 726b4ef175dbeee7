import { endianness } from 'node:os';
import { ADDRESS_BYTES } from '../native/addon.js';

/** The address of one end of a TCP connection, or of a server, in the form of node:net. */
export interface TcpAddress {
  address: string;
  family: 'IPv4' | 'IPv6';
  port: number;
}

const LITTLE = endianness() === 'LE';

/** Reads one of several `struct fdp_address`. */
export function addressAt(bytes: Buffer, index: number): TcpAddress {
  const start = index * ADDRESS_BYTES;
  const text = start + 3;
  return {
    address: bytes.toString('latin1', text, bytes.indexOf(0, text)),
    family: bytes[start + 2] === 1 ? 'IPv6' : 'IPv4',
    port: LITTLE ? bytes.readUInt16LE(start) : bytes.readUInt16BE(start),
  };
}
