/**
 * How an OwnedFd becomes one of Node's own objects: the descriptor has one owner at every moment, and is still the
 * OwnedFd's if anything throws.
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

/** The number becomes that of what `make` makes, which closes it by itself. */
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

/** The same for a connection: Node would close a fifo past node:fs. */
export function becomeSocket<T>(owned: OwnedFd, make: (nature: Nature) => T): T {
  if (ownership.closer(owned) === OURS || owned.kind !== 'fifo') return become(owned, make);
  return becomeCopy(owned, (copy) => become(copy, make));
}

/** The same for a connection of a server; `begin` is as `acceptHandle` has it. */
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

/** The same for what has node:fs close it, which would warn of a number that is not on its list. */
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

/** The same for a stream that may have opened its terminal once more, and leaves the number to be closed. */
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

/** The same for what closes it past node:fs, which would leave the number on that list: another takes its place. */
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
