import { lstatSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Endpoint } from '../messages.js';
import { builtin } from '../../common/lazy-modules.js';

/** Something with a name. */
export type Place =
  | { kind: 'tcp' | 'udp'; host: string | undefined; port: number; isV6?: boolean }
  /** `umask`: that of the process when it asked. */
  | { kind: 'unix'; path: string; umask: number };

/** What a program asks a listener to listen on. */
export type Wanted =
  | Place
  /** Something without a name: a descriptor, a handle, any free port. It is never inherited. */
  | { kind: 'nameless'; anyPort: boolean };

const NAMELESS: Wanted = { kind: 'nameless', anyPort: false };

/** From the arguments of `server.listen()`. */
export function wantedOfServer(args: readonly unknown[]): Wanted {
  const [first, second] = args;
  if (typeof first === 'object' && first !== null) {
    const { path, port, host, fd } = first as { path?: unknown; port?: unknown; host?: unknown; fd?: unknown };
    if (fd !== undefined || '_handle' in first) return NAMELESS;
    if (typeof path === 'string' && port === undefined) return wantedPath(path);
    return wantedPort('tcp', port, host);
  }
  if (typeof first === 'string' && Number.isNaN(Number(first))) return wantedPath(first);
  return wantedPort('tcp', first, typeof second === 'string' ? second : undefined);
}

/** From the arguments of a datagram socket's `bind()`. Two of both families may have one port. */
export function wantedOfDatagrams(args: readonly unknown[], isV6 = false): Wanted {
  const wanted = wantedAnyFamily(args);
  return isV6 && wanted.kind === 'udp' ? { ...wanted, isV6 } : wanted;
}

function wantedAnyFamily([first, second]: readonly unknown[]): Wanted {
  if (typeof first === 'object' && first !== null) {
    const { port, address, fd } = first as { port?: unknown; address?: unknown; fd?: unknown };
    return fd === undefined ? wantedPort('udp', port, address) : NAMELESS;
  }
  return wantedPort('udp', first, typeof second === 'string' ? second : undefined);
}

function wantedPath(path: string): Wanted {
  if (path === '') return NAMELESS;
  return { kind: 'unix', path: path.startsWith('\0') ? path : resolve(path), umask: process.umask() };
}

function wantedPort(kind: 'tcp' | 'udp', port: unknown, host: unknown): Wanted {
  const number = typeof port === 'string' && port.trim() !== '' ? Number(port) : port;
  if (number === 0 || number === undefined || number === null) return { kind: 'nameless', anyPort: true };
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0) return NAMELESS;
  return { kind, port: number, host: typeof host === 'string' && host !== '' ? canonical(host) : undefined };
}

/** An address of IPv6 can be written in several ways. This is one of them, for comparing. */
function canonical(host: string): string {
  if (builtin.net.isIPv6(host) && URL.canParse(`http://[${host}]`))
    return new URL(`http://[${host}]`).hostname.slice(1, -1);
  return host; // a zone is no part of a URL
}

/** Its name, the same in each version of a program. `undefined` for what is not inherited. */
export function nameOf(wanted: Wanted): string | undefined {
  if (wanted.kind === 'nameless') return undefined;
  if (wanted.kind === 'unix') return `unix:${wanted.path}`;
  return `${wanted.kind}${wanted.isV6 === true ? '6' : ''}:${wanted.host ?? '*'}:${wanted.port}`;
}

const ANY = new Set(['::', '0.0.0.0']);

/** Whether these are names of one port, for hosts that may be bound only one at a time. They are not looked up. */
export function collide(name: string, otherName: string): boolean {
  const [kind, host, port] = partsOf(name);
  const [otherKind, otherHost, otherPort] = partsOf(otherName);
  if (port === undefined || kind !== otherKind || port !== otherPort || host === otherHost) return false;
  return !isOneAddress(host) || !isOneAddress(otherHost);
}

/** Of the name of a port, as `nameOf` makes it. */
function partsOf(name: string): (string | undefined)[] {
  return /^(tcp|udp6?):(.*):(\d+)$/.exec(name)?.slice(1) ?? [];
}

function isOneAddress(host = ''): boolean {
  return builtin.net.isIP(host) !== 0 && !ANY.has(host);
}

/** Device and inode of what is at a path. */
export function fileAt(path: string): string | undefined {
  const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}`;
}

/**
 * Whether what a predecessor listens on is what is wanted here, and its path still leads there. Host names are not
 * looked up.
 */
export function fits(endpoint: Endpoint, wanted: Wanted): boolean {
  if (endpoint.kind === 'unix') {
    const { path, file } = endpoint;
    return wanted.kind === 'unix' && wanted.path === path && (file === undefined || fileAt(path) === file);
  }
  if (wanted.kind !== endpoint.kind || wanted.port !== endpoint.port) return false;
  if (wanted.host === undefined) return ANY.has(endpoint.address);
  return builtin.net.isIP(wanted.host) === 0 || wanted.host === canonical(endpoint.address);
}
