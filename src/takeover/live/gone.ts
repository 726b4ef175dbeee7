/** What happens to a connection, whatever the program does to listeners: it may remove all of them. */
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { replace } from '../../descriptor/node-internals.js';

/** Whom to call when a connection has closed. */
const waiting = new WeakMap<Socket, (() => void)[]>();

/** Calls back when a connection is destroyed and has emitted `'close'`. */
export function onceGone(socket: Socket, callback: () => void): void {
  const callbacks = waiting.get(socket);
  if (callbacks === undefined) waiting.set(socket, watched(socket, [callback]));
  else callbacks.push(callback);
}

function watched(socket: Socket, callbacks: (() => void)[]): (() => void)[] {
  const destroy = socket._destroy.bind(socket);
  replace(socket, '_destroy', (...args: Parameters<Socket['_destroy']>) => {
    destroy(...args);
    afterClose(() => callbacks.forEach((callback) => callback()));
  });
  return callbacks;
}

/** Calls back when what is destroyed now has emitted `'close'`: its handle is closed after the first `setImmediate`. */
export function afterClose(callback: () => void): void {
  setImmediate(() => setImmediate(callback));
}

/** Calls back when a request or response has emitted `'close'`. */
export function onceOver(message: EventEmitter, callback: () => void): void {
  const emit = message.emit.bind(message) as (event: string | symbol, ...args: unknown[]) => boolean;
  replace(message, 'emit', (event: string | symbol, ...args: unknown[]): boolean => {
    try {
      return emit(event, ...args);
    } finally {
      if (event === 'close') callback();
    }
  });
}
