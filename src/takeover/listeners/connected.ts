import type { Server } from 'node:net';
import type { OwnedFd } from '../../descriptor/owned-fd.js';
import type { Json } from '../live/carried.js';
import { LiveConnections, type Carried, type Carrier, type LiveSettings } from '../live/index.js';
import { Clients } from './clients.js';
import { onceClosed } from './node-listening.js';

/** Of each server whose clients are known. */
const known = new WeakMap<Server, Connected>();

/** Those who are connected to one server: they move to another process, or are asked to leave. */
export class Connected {
  /** Those of a server that listens, perhaps again: its clients of before stay known. */
  static of(server: Server, settings: LiveSettings): Connected {
    const before = known.get(server);
    if (before === undefined) known.set(server, new Connected(server, settings));
    else before.#hear();
    return known.get(server)!;
  }

  readonly #server: Server;
  readonly #live: LiveConnections;
  readonly #clients: Clients;
  #stopHearing = (): void => {};

  /** Knows those who connect from now on. */
  constructor(server: Server, settings: LiveSettings) {
    this.#server = server;
    this.#live = new LiveConnections(server, settings);
    this.#clients = new Clients(server);
    this.#hear();
  }

  #hear(): void {
    this.#stopHearing();
    this.#stopHearing = onceClosed(this.#server, () => this.leave());
  }

  /** Knows nobody any more. */
  leave(): void {
    this.#stopHearing();
    if (known.get(this.#server) === this) known.delete(this.#server);
    this.#live.close();
    this.#clients.close();
  }

  /** The kinds of live connections of another process that it can go on with. */
  get liveKinds(): readonly string[] {
    return this.#live.kinds;
  }

  /** Gets one of those. Throws when it cannot; `fd` is then the caller's still. */
  adoptLive(key: number, kind: string, fd: OwnedFd, state: Json): void {
    this.#live.adopt(key, kind, fd, state);
  }

  /** Goes on with it; `late` are its first bytes, or some of them. Throws when it cannot. */
  ownLive(key: number, late: Buffer, more: boolean): void {
    this.#live.released(key, late, more);
  }

  /** The other process has ended: goes on with all. */
  ownAllLive(): void {
    this.#live.orphaned();
  }

  /** How connections of the program's own protocol move. */
  carry(carrier: Carrier): void {
    this.#live.carrier = carrier;
  }

  /**
   * Each connection of these kinds, or of all, that moves, when it can go; also those that come from another process
   * until `alone`.
   */
  leaveLive(signal: AbortSignal, alone: Promise<void>, kinds?: readonly string[]): AsyncGenerator<Carried, void> {
    return this.#live.leave(signal, alone, kinds);
  }

  /** Asks those who do not move to leave, as their protocol does that. */
  drain(): void {
    this.#clients.leave((socket) => this.#live.moves(socket));
    this.#live.dismiss();
  }

  /** They stay after all. */
  stay(): void {
    this.#clients.stay();
  }

  /** Resolves when nobody is connected any more. */
  whenGone(): Promise<void> {
    return this.#clients.whenGone();
  }

  /** Ends what is still connected. */
  cut(): void {
    this.#live.dismissAll();
    this.#clients.cut();
  }
}
