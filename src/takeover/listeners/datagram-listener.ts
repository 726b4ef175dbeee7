import type { Socket } from 'node:dgram';
import { invalidValue } from '../../common/arguments.js';
import { builtin } from '../../common/lazy-modules.js';
import { datagramNumber, stopReceiving } from '../../descriptor/node-internals.js';
import { ownReceived, type OwnedFd } from '../../descriptor/owned-fd.js';
import { checked } from '../../errors.js';
import { addon } from '../../native/load.js';
import type { Carried } from '../live/index.js';
import type { Endpoint } from '../messages.js';
import type { Inherited, Listener } from './listener.js';
import { keepMemberships, mayJoinAgain } from './multicast.js';
import { onceClosed, whenListening } from './node-listening.js';
import { fits, wantedOfDatagrams, type Wanted } from './wanted.js';

type State = 'unbound' | 'bound' | 'serving' | 'paused' | 'released' | 'closed';

// Node's own method, before `fdpasser/takeover/register` replaces it.
const bind = (builtin.dgram.Socket.prototype as unknown as Record<'bind', () => unknown>).bind;

/** Node's own `socket.bind()`. */
export function bindAs(socket: Socket, ...args: unknown[]): void {
  Reflect.apply(bind, socket, args);
}

/**
 * A `dgram.Socket`. It can send at any time. Datagrams that it does not receive wait in the socket for another process.
 */
export class DatagramListener implements Listener {
  readonly name: string;
  readonly #socket: Socket;
  readonly #args: readonly unknown[];
  readonly #wanted: Wanted;
  readonly #hearClose: () => void;
  readonly #stopHearing: () => void;
  #state: State = 'unbound';
  #inherited: OwnedFd | undefined;
  #receiveOn: (() => void) | undefined;

  /** `args` are those of `socket.bind()`, without a callback. */
  constructor(name: string, socket: Socket, args: readonly unknown[], closed: () => void) {
    this.name = name;
    this.#socket = socket;
    this.#args = args;
    this.#wanted = wantedOfDatagrams(args);
    this.#hearClose = () => {
      this.#state = 'closed';
      this.#inherited?.close();
      closed();
    };
    this.#stopHearing = onceClosed(socket, this.#hearClose);
  }

  /** The socket emits 'close' later, when another may be bound already. */
  endIfClosed(): boolean {
    const ends = (this.#state === 'serving' || this.#state === 'paused') && datagramNumber(this.#socket) < 0;
    if (ends) {
      this.#stopHearing();
      this.#hearClose();
    }
    return ends;
  }

  get transferable(): boolean {
    return this.#wanted.kind !== 'nameless' && this.#state === 'serving';
  }

  get endpoint(): Endpoint {
    const { address, port } = this.#socket.address();
    return { kind: 'udp', address, port };
  }

  accepts(endpoint: Endpoint): boolean {
    return fits(endpoint, this.#wanted);
  }

  async bind(inherited: Inherited | undefined): Promise<void> {
    if (inherited === undefined) {
      const listening = whenListening(this.#socket);
      bindAs(this.#socket, ...this.#args);
      await listening;
      this.#receiveOn = stopReceiving(this.#socket);
    } else this.#inherited = inherited.socket;
    this.#state = 'bound';
  }

  fail(error: Error): void {
    this.#stopHearing();
    if (this.#socket.listenerCount('error') === 0) this.#socket.emit('error', error); // others have heard of it
  }

  share(): OwnedFd {
    return this.duplicate();
  }

  async serve(): Promise<void> {
    if (this.#inherited !== undefined) {
      mayJoinAgain(this.#socket);
      const listening = whenListening(this.#socket); // first: the event may be emitted at once
      bindAs(this.#socket, { fd: this.#inherited.take(), exclusive: true });
      await listening;
    }
    this.#inherited = undefined;
    this.resume();
  }

  /** The program's own `bind()` has bound it. */
  adopt(): void {
    this.#state = 'serving';
  }

  duplicate(): OwnedFd {
    return ownReceived(checked(addon.dup(datagramNumber(this.#socket)), 'fcntl'));
  }

  pause(): void {
    if (this.#state !== 'serving') return;
    this.#receiveOn = stopReceiving(this.#socket);
    this.#state = 'paused';
  }

  resume(): void {
    if (this.#state === 'released' || this.#state === 'closed') return;
    this.#receiveOn?.();
    this.#receiveOn = undefined;
    this.#state = 'serving';
  }

  release(): void {
    keepMemberships(this.#socket);
    if (this.#state !== 'closed') this.#state = 'released';
  }

  readonly liveKinds = [];

  adoptLive(_key: number, kind: string): void {
    throw invalidValue('kind', 'left out for datagrams, which have no connections', kind);
  }

  ownLive(key: number): void {
    throw invalidValue('key', 'left out for datagrams, which have no connections', key);
  }

  ownAllLive(): void {}

  carry(): void {
    throw invalidValue('name', 'of a server with connections', this.name);
  }

  async *leaveLive(): AsyncGenerator<Carried, void> {}

  drain(): void {}

  async whenGone(): Promise<void> {}

  cut(): void {}

  close(): void {
    this.#inherited?.close();
    this.#inherited = undefined;
    if (this.#state !== 'closed' && this.#state !== 'unbound') this.#socket.close();
  }
}
