import type { IncomingMessage } from 'node:http';
import type { Json } from './carried.js';

/** The request that a WebSocket began with. */
export interface Upgrade {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: string[];
}

/** Whether a request asks for a WebSocket. */
export function asksForWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket';
}

export function upgradeOf({ method = '', url = '', rawHeaders }: IncomingMessage): Upgrade {
  return { method, url, rawHeaders };
}

/** The request as it came over the connection. */
export function requestBytes({ method, url, rawHeaders }: Upgrade): Buffer {
  let text = `${method} ${url} HTTP/1.1\r\n`;
  for (let i = 0; i < rawHeaders.length; i += 2) text += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  return Buffer.from(`${text}\r\n`, 'latin1');
}

/** Returns the value if it is a request; the sender may be any program. */
export function readUpgrade(value: Json | undefined): Upgrade | undefined {
  const { method, url, rawHeaders } = (value ?? {}) as Partial<Record<keyof Upgrade, Json>>;
  if (typeof method !== 'string' || typeof url !== 'string' || !Array.isArray(rawHeaders)) return undefined;
  return rawHeaders.every((text) => typeof text === 'string') ? { method, url, rawHeaders } : undefined;
}

/** Whether the head of a response begins a WebSocket. */
export function isSwitch(response: string): boolean {
  return /^HTTP\/1\.1 101[ \r]/.test(response);
}

/** What a client and its server have agreed on. */
const AGREED = ['sec-websocket-accept', 'sec-websocket-protocol', 'sec-websocket-extensions'];

/** Whether a response agrees to the same as the client's. */
export function isAnswer(response: string, expected: string): boolean {
  return isSwitch(response) && AGREED.every((name) => header(response, name) === header(expected, name));
}

/**
 * Whether each message can be read without the ones before (RFC 7692, 7.1.1): messages are not compressed, or each is
 * compressed by itself.
 */
export function isStateless(response: string): boolean {
  const extensions = header(response, 'sec-websocket-extensions');
  if (extensions === '') return true;
  const [name, ...parameters] = extensions.split(';').map((part) => part.trim().toLowerCase());
  const alone = ['server_no_context_takeover', 'client_no_context_takeover'];
  return name === 'permessage-deflate' && !extensions.includes(',') && alone.every((each) => parameters.includes(each));
}

function header(response: string, name: string): string {
  const line = response.split('\r\n').find((each) => each.toLowerCase().startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim() ?? '';
}
