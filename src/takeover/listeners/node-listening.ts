/**
 * What takeover uses of Node's servers although it is not documented, seen in Node 20, 22 and 24. No documented method
 * makes a server stop accepting and accept again later.
 */
import type { EventEmitter } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { builtin } from '../../common/lazy-modules.js';
import { handleNumber, replace } from '../../descriptor/node-internals.js';
import { ownReceived, type OwnedFd } from '../../descriptor/owned-fd.js';
import { checked } from '../../errors.js';
import { addon } from '../../native/load.js';
import { follow } from '../live/follow.js';
import type { Place } from './wanted.js';

interface ListeningHandle {
  readonly fd: number;
  close(...args: unknown[]): void;
  ref(): void;
  unref(): void;
  getsockname?(into: object): number;
}

interface ServerInternals {
  _handle: ListeningHandle | null;
  /** What `address()` of a server at a path returns. */
  _pipeName?: string;
  _unref: boolean;
}

const internals = (server: Server): ServerInternals => server as unknown as ServerInternals;

// Node's own methods, before `fdpasser/takeover/register` replaces them.
const prototype = builtin.net.Server.prototype as unknown as Record<'listen' | 'close', () => unknown>;
const listen = prototype.listen;
const close = prototype.close;

/** Node's own `server.listen()`. */
export function listenAs(server: Server, ...args: unknown[]): void {
  Reflect.apply(listen, server, args);
}

/** Puts this in the place of `listen()` of all servers. */
export function replaceListen(listen: (this: Server, ...args: unknown[]) => Server): void {
  replaceMethod(builtin.net.Server.prototype, 'listen', listen);
}

/** Puts a method in the place of one of Node's. */
export function replaceMethod(prototype: object, name: string, method: (...args: never[]) => unknown): void {
  Object.defineProperty(prototype, name, { value: method, writable: true, configurable: true, enumerable: false });
}

/** Stops listening, and leaves idle connections of an `http.Server` alone, which its own `close()` would cut. */
export function closeListening(server: Server): void {
  Reflect.apply(close, server, []);
}

/**
 * Calls back when a server or datagram socket has closed, before others hear of it: they may listen again. A `'close'`
 * that is due already does not count: the server listens again since. Returns what ends this.
 */
export function onceClosed(socket: EventEmitter, callback: () => void): () => void {
  let counts = false;
  process.nextTick(() => (counts = true));
  const unfollow = follow(socket, (event) => {
    if (event !== 'close' || !counts) return;
    unfollow();
    callback();
  });
  return unfollow;
}

/** As Node's `listen()` does it, but also before the server listens. */
export function closeAtAbort(server: Server, signal: AbortSignal): void {
  const close = (): void => void server.close();
  if (signal.aborted) process.nextTick(close);
  signal.addEventListener('abort', close);
  onceClosed(server, () => signal.removeEventListener('abort', close));
}

/**
 * Resolves when a server or datagram socket listens, and rejects when it cannot, whatever the listeners of the program
 * do.
 */
export function whenListening(socket: EventEmitter): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject); // without a listener it would be thrown
    const unfollow = follow(socket, (event, [error]) => {
      if (event !== 'listening' && event !== 'error') return;
      unfollow();
      if (event === 'error') return reject(error);
      socket.removeListener('error', reject);
      resolve();
    });
  });
}

/**
 * Calls back when the program has stopped the server from listening. The server emits 'close' only when nobody is
 * connected any more.
 */
export function onceStopped(server: Server, callback: () => void): void {
  const handle = internals(server)._handle;
  if (handle === null) return; // it cannot listen, and emits 'error' soon
  const close = handle.close.bind(handle);
  handle.close = (...args) => {
    process.nextTick(callback);
    close(...args);
  };
}

/** Calls back each time that the program calls `close()`, whether the server listens or not, before it closes. */
export function beforeClosing(server: Server, callback: () => void): void {
  const close = server.close.bind(server);
  replaceMethod(server, 'close', (...args: Parameters<Server['close']>) => {
    callback();
    return close(...args);
  });
}

/** Another descriptor of what the server listens on. */
export function duplicateOf(server: Server): OwnedFd {
  return ownReceived(checked(addon.dup(handleNumber(server)), 'fcntl'));
}

/** Sets what `server.address()` returns for a listener that this library bound to a path. */
export function notePath(server: Server, path: string): void {
  internals(server)._pipeName = path;
}

/**
 * Stops a server from accepting. Its handle is closed and replaced by one that does nothing, so that the server still
 * counts as listening. `onClose` is called when the program closes the server meanwhile.
 */
export function stopAccepting(server: Server, onClose: () => void): void {
  const handle = internals(server)._handle!;
  listenInPlace(server, server.address(), onClose);
  handle.close();
  if ('closeIdleConnections' in server)
    keepingIdle.set(
      server,
      replace(server, 'closeIdleConnections', () => {}),
    );
}

/**
 * What ends that `close()` of a server of HTTP spares its idle connections, which it else closes: they are to move.
 */
const keepingIdle = new WeakMap<Server, () => void>();

/** Handles that do nothing: a server that has one counts as listening. */
const standIns = new WeakSet<ListeningHandle>();

/** Has a server count as listening before it does. `onClose` is called when the program closes it. */
export function promise(server: Server, at: Place, onClose: () => void): void {
  listenInPlace(server, at.kind === 'unix' ? at.path : addressOf(at.host, at.port), onClose);
}

/** Whether a server was promised, and not closed since. */
export function isPromised(server: Server): boolean {
  const handle = internals(server)._handle;
  return handle !== null && standIns.has(handle);
}

/** The same, and the promise ends: it can listen. */
export function endPromise(server: Server): boolean {
  if (!isPromised(server)) return false;
  internals(server)._handle = null;
  return true;
}

function addressOf(host = '', port: number): AddressInfo {
  const family = builtin.net.isIP(host);
  return family === 0 ? { ...anyAddress(), port } : { address: host, family: `IPv${family}`, port };
}

/** What a server without a host listens on. */
function anyAddress(): AddressInfo {
  const server = new builtin.net.Server();
  listenAs(server, { port: 0, exclusive: true });
  const address = server.address() as AddressInfo;
  server.close();
  return address;
}

/**
 * Has a server count as listening at an address, or a path, where another process accepts for it; null: nobody knows
 * yet where. `onClose` is called when the program closes the server. Returns what says whether this still holds.
 */
export function listenInPlace(
  server: Server,
  address: ReturnType<Server['address']>,
  onClose: () => void,
): () => boolean {
  const getsockname = (into: object): number => {
    Object.assign(into, address);
    return 0;
  };
  const handle = {
    fd: -1,
    close: onClose,
    ref() {},
    unref() {},
    ...(typeof address === 'string' || address === null ? {} : { getsockname }),
  };
  standIns.add(handle);
  internals(server)._handle = handle;
  if (typeof address === 'string') notePath(server, address);
  return () => internals(server)._handle === handle;
}

/**
 * Accepts again, from a listening socket that the server owns from now on. The server does not emit `'listening'`
 * again.
 */
export function acceptAgain(server: Server, socket: OwnedFd): void {
  keepingIdle.get(server)?.();
  const lender = new builtin.net.Server();
  listenAs(lender, { fd: socket.take(), exclusive: true });
  const handle = internals(lender)._handle!;
  const owner = Object.getOwnPropertySymbols(handle).find(({ description }) => description === 'owner_symbol')!;
  Object.assign(handle, { [owner]: server });
  lender.removeAllListeners();
  internals(lender)._handle = null;
  internals(server)._handle = handle;
  if (internals(server)._unref) handle.unref();
}
