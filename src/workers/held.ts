import { Parcel, parcelNumber } from '../descriptor/outgoing.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';

/** A connection that the supervisor owns until a worker has confirmed it. */
export class Held extends Parcel {
  readonly listener: string;
  readonly address: string;
  readonly first: Buffer | undefined;
  /** What `pick` returned; null: nothing that counts. */
  key: string | number | null | undefined;

  constructor(fd: number | OwnedFd, listener: string, address = '', first?: Buffer) {
    super(typeof fd === 'number' ? fd : parcelNumber(fd));
    this.listener = listener;
    this.address = address;
    this.first = first;
  }
}
