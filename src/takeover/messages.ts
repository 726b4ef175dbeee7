/** The messages of both processes: JSON over FDP1. docs/takeover.md has their order and meaning. */

import type { Json } from './live/carried.js';

export const VERSION = 1;

/** What a listener listens on. */
export type Endpoint =
  | { kind: 'tcp' | 'udp'; address: string; port: number }
  /** `file` is the device and inode of the path, if it has one: the last process with the listener removes the path. */
  | { kind: 'unix'; path: string; file?: string };

/** A listener in a MANIFEST: its descriptor has the same place among those of the message. */
export interface Entry {
  name: string;
  endpoint: Endpoint;
}

/** A connection in a LIVE. No other of its listener has its `key`. `kind` and `state` are of src/takeover/live. */
export interface LiveEntry {
  key: number;
  kind: string;
  state: Json;
}

export type FromSuccessor =
  | { type: 'hello'; version: number; pid: number }
  | { type: 'ready' }
  /** `probation`: milliseconds until CONFIRM at the latest; null: the program decides when. */
  | { type: 'serving'; probation: number | null }
  /**
   * `live`: the listeners whose live connections this process can go on with. `kinds`: which kinds of them, for each of
   * those in that order; without it, all.
   */
  | { type: 'confirm'; live: string[]; kinds?: string[][] }
  | { type: 'abort'; reason: string };

export type FromPredecessor =
  | { type: 'manifest'; version: number; pid: number; listeners: Entry[] }
  | { type: 'busy'; pid: number | null }
  | { type: 'refused'; reason: string }
  | { type: 'commit' }
  | { type: 'rollback'; reason: string }
  /** Carries the listener of the control path. `drainTimeout`: milliseconds until BYE at the latest. */
  | { type: 'confirmed'; drainTimeout: number }
  /** With connections that the listener of that name has accepted, each at the place of its descriptor. */
  | { type: 'live'; name: string; connections: LiveEntry[] }
  /** What the old process wrote to the client of one of them since, in base64. */
  | { type: 'late'; name: string; key: number; bytes: string }
  /** Those connections are the other process's. */
  | { type: 'yours'; name: string; keys: number[] }
  | { type: 'bye' };

/** The name of a message in errors and documents. */
export type Step = Uppercase<(FromSuccessor | FromPredecessor)['type']>;

/** Returns the value if it is a message of a successor; the sender may be any program. */
export function fromSuccessor(value: unknown): FromSuccessor | undefined {
  if (!isRecord(value)) return undefined;
  switch (value.type) {
    case 'hello':
      return isNumber(value.version) && isNumber(value.pid) ? (value as FromSuccessor) : undefined;
    case 'serving':
      return value.probation === null || isNumber(value.probation) ? (value as FromSuccessor) : undefined;
    case 'abort':
      return typeof value.reason === 'string' ? (value as FromSuccessor) : undefined;
    case 'confirm':
      return areStrings(value.live) && (value.kinds === undefined || areLists(value.kinds))
        ? (value as FromSuccessor)
        : undefined;
    case 'ready':
      return value as FromSuccessor;
    default:
      return undefined;
  }
}

/** The same for what a predecessor sends. */
export function fromPredecessor(value: unknown): FromPredecessor | undefined {
  if (!isRecord(value)) return undefined;
  switch (value.type) {
    case 'manifest':
      return isNumber(value.version) && isNumber(value.pid) && areEntries(value.listeners)
        ? (value as FromPredecessor)
        : undefined;
    case 'busy':
      return value.pid === null || isNumber(value.pid) ? (value as FromPredecessor) : undefined;
    case 'refused':
    case 'rollback':
      return typeof value.reason === 'string' ? (value as FromPredecessor) : undefined;
    case 'confirmed':
      return isNumber(value.drainTimeout) ? (value as FromPredecessor) : undefined;
    case 'live':
      return isString(value.name) && Array.isArray(value.connections) && value.connections.every(isLiveEntry)
        ? (value as FromPredecessor)
        : undefined;
    case 'late':
      return isString(value.name) && isNumber(value.key) && isString(value.bytes)
        ? (value as FromPredecessor)
        : undefined;
    case 'yours':
      return isString(value.name) && Array.isArray(value.keys) && value.keys.every(isNumber)
        ? (value as FromPredecessor)
        : undefined;
    case 'commit':
    case 'bye':
      return value as FromPredecessor;
    default:
      return undefined;
  }
}

function areEntries(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every((entry) => isRecord(entry) && typeof entry.name === 'string' && isEndpoint(entry.endpoint))
  );
}

function isEndpoint(value: unknown): boolean {
  if (!isRecord(value)) return false;
  if (value.kind === 'unix')
    return typeof value.path === 'string' && ['undefined', 'string'].includes(typeof value.file);
  return (value.kind === 'tcp' || value.kind === 'udp') && typeof value.address === 'string' && isNumber(value.port);
}

function isLiveEntry(value: unknown): boolean {
  return isRecord(value) && isNumber(value.key) && isString(value.kind) && 'state' in value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function areStrings(value: unknown): boolean {
  return Array.isArray(value) && value.every(isString);
}

function areLists(value: unknown): boolean {
  return Array.isArray(value) && value.every(areStrings);
}

function isString(value: unknown): value is string {
  return typeof value === 'string';
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
