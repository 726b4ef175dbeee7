import type { OwnedFd } from '../descriptor/owned-fd.js';

/** A message received, and its descriptors, which are the receiver's to close. */
export class Message<T = unknown> {
  constructor(
    readonly value: T,
    readonly fds: OwnedFd[],
  ) {}

  /** Closes the descriptors that were not taken out, handed on or closed: for `using`. */
  [Symbol.dispose](): void {
    const failures: unknown[] = [];
    for (const fd of this.fds) {
      try {
        fd.close();
      } catch (error) {
        failures.push(error); // the others are closed all the same
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
