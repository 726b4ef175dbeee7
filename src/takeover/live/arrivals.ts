import { invalidValue } from '../../common/arguments.js';
import { attempt } from '../../common/attempt.js';
import type { OwnedFd } from '../../descriptor/owned-fd.js';
import type { Json } from './carried.js';

/** A connection that another process has sent. */
export interface Arrival {
  readonly kind: string;
  readonly fd: OwnedFd;
  readonly state: Json;
}

/** Goes on with one. `late` is to be sent first. Throws when it cannot; `fd` is then the caller's still. */
type Begin = (arrival: Arrival, late: Buffer) => void;

/**
 * Connections that another process has sent. Each is left alone until that process has said that its own part is over,
 * or has ended: until then it could still keep the connection, and send what its program has written.
 */
export class Arrivals {
  readonly #waiting = new Map<number, Arrival & { readonly late: Buffer[] }>();
  readonly #begin: Begin;

  constructor(begin: Begin) {
    this.#begin = begin;
  }

  /** Throws for a key that another one has; `fd` is then the caller's still. */
  add(key: number, arrival: Arrival): void {
    if (this.#waiting.has(key)) throw invalidValue('key', 'that of no other connection', key);
    this.#waiting.set(key, { ...arrival, late: [] });
  }

  /** The other process has written this since; with the last part its own part is over. Throws what `Begin` throws. */
  release(key: number, late: Buffer, more: boolean): void {
    const arrival = this.#waiting.get(key);
    if (arrival === undefined) throw invalidValue('key', 'that of a connection which has come', key);
    arrival.late.push(late);
    if (more) return;
    this.#waiting.delete(key);
    try {
      this.#begin(arrival, Buffer.concat(arrival.late));
    } catch (error) {
      arrival.fd.close();
      throw error;
    }
  }

  /** The other process has ended. Of what it had written only the whole counts. */
  releaseAll(): void {
    for (const [key, arrival] of this.#waiting) {
      arrival.late.length = 0;
      attempt(() => this.release(key, Buffer.alloc(0), false));
    }
  }

  /** Ends them. */
  close(): void {
    for (const { fd } of this.#waiting.values()) fd.close();
    this.#waiting.clear();
  }
}
