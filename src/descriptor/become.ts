/**
 * Turns an OwnedFd into one of Node's own objects. The descriptor has one owner at every moment. If anything throws,
 * that is still the OwnedFd.
 */
import type { Server, Socket } from 'node:net';
import { OURS } from '../native/addon.js';
import { addon } from '../native/load.js';
import { listsNumbers, shut } from './closer.js';
import { acceptHandle } from './node-internals.js';
import type { OwnedFd } from './owned-fd.js';
import { ownership } from './ownership.js';
import { slotFreed } from './table.js';
import { isReopened } from './terminal.js';
import { beginWith, connectionOf, type Close, type Nature } from './to-node.js';

/** Gives the number to the object that `make` makes, which then closes it by itself. */
export function become<T>(owned: OwnedFd, make: (nature: Nature) => T): T {
  addon.handOver(ownership.takable(owned));
  try {
    const made = make(owned);
    owned.take();
    return made;
  } finally {
    addon.handOver(-1);
  }
}

/** Does the same for a `net.Socket`. Node closes a fifo's number without node:fs, so a fifo may need a copy. */
export function becomeSocket<T>(owned: OwnedFd, make: (nature: Nature) => T): T {
  if (ownership.closer(owned) === OURS || owned.kind !== 'fifo') return become(owned, make);
  return becomeCopy(owned, (copy) => become(copy, make));
}

/** Does the same for a connection of a server. `begin` is that of `acceptHandle`. */
export function connectTo(
  owned: OwnedFd,
  server: Server,
  begin: (socket: Socket) => boolean = () => true,
): Socket | undefined {
  const { unread } = owned;
  const handle = become(owned, (nature) => connectionOf(nature, server));
  return acceptHandle(server, handle, (socket) => {
    beginWith(socket, unread);
    return begin(socket);
  });
}

/**
 * Does the same for an object that closes its number by node:fs. In a worker that would warn of a number that is not on
 * Node's list.
 */
export function becomeFile<T>(owned: OwnedFd, make: (nature: Nature, close?: Close) => T): T {
  if (!listsNumbers()) return become(owned, make);
  ownership.takable(owned);
  const closer = ownership.closer(owned);
  const made = make(owned, (fd) => {
    const result = shut(fd, closer);
    slotFreed();
    return result;
  });
  ownership.forget(owned);
  return made;
}

/**
 * Does the same for a stream of a terminal. It may have opened the terminal once more: then it does not close this
 * number.
 */
export function becomeTerminal<T>(owned: OwnedFd, make: (nature: Nature) => T): T {
  if (ownership.closer(owned) !== OURS) return becomeCopy(owned, (copy) => becomeTerminal(copy, make));
  const fd = ownership.takable(owned);
  addon.handOver(fd);
  try {
    const made = make(owned);
    if (isReopened(made as Socket, fd)) owned.close();
    else owned.take();
    return made;
  } finally {
    addon.handOver(-1);
  }
}

/**
 * Does the same for an object that closes its number without node:fs, although the number may be on Node's list. The
 * object gets a duplicate, and the OwnedFd is closed.
 */
function becomeCopy<T>(owned: OwnedFd, make: (copy: OwnedFd) => T): T {
  ownership.takable(owned);
  const copy = owned.dup();
  try {
    const made = make(copy);
    owned.close();
    return made;
  } catch (error) {
    copy.close();
    throw error;
  }
}
