/** Closes what was forgotten: an OwnedFd that is garbage-collected while it is open. */
import type { Closer } from '../native/addon.js';
import { shut } from './closer.js';
import type { OwnedFd } from './owned-fd.js';
import { ownership } from './ownership.js';
import { slotFreed } from './table.js';

const registry = new FinalizationRegistry<{ fd: number; closer: Closer }>(({ fd, closer }) => {
  shut(fd, closer);
  slotFreed();
  process.emitWarning(
    `Descriptor ${fd} was closed because its OwnedFd was garbage-collected. Close every OwnedFd, or declare it with ` +
      '"using"',
    'FdPasserWarning',
  );
});

// Registering costs more than everything else about an OwnedFd, and most are closed or passed on at once. So each waits
// here, where it cannot be collected, until the loop turns, and only those still open then are registered.
let fresh: OwnedFd[] = [];

export function watchForGarbage(owned: OwnedFd): void {
  if (fresh.push(owned) === 1) setImmediate(registerFresh).unref();
}

function registerFresh(): void {
  const due = fresh;
  fresh = [];
  for (const owned of due) {
    const descriptor = ownership.watch(owned);
    if (descriptor !== undefined) registry.register(owned, descriptor, owned);
  }
}

/** Its descriptor is closed, or has another owner. */
export function unwatch(owned: OwnedFd): void {
  registry.unregister(owned);
}
