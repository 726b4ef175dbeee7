import { once } from 'node:events';
import { lstatSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { attempt } from '../../common/attempt.js';
import { builtin } from '../../common/lazy-modules.js';
import { ownMade, type OwnedFd } from '../../descriptor/owned-fd.js';
import { bindPath, Place } from '../../endpoint/path.js';
import { isAbstract } from '../../endpoint/address.js';
import { typeNumber } from '../../native/kinds.js';
import type { Json } from '../live/carried.js';
import type { Carried, Carrier, LiveSettings } from '../live/index.js';
import type { Endpoint } from '../messages.js';
import { Connected } from './connected.js';
import type { Inherited, Listener } from './listener.js';
import {
  acceptAgain,
  closeAtAbort,
  closeListening,
  duplicateOf,
  endPromise,
  isPromised,
  listenAs,
  notePath,
  onceClosed,
  onceStopped,
  stopAccepting,
  whenListening,
} from './node-listening.js';
import { fileAt, fits, type Wanted } from './wanted.js';

/**
 * `'bound'` and `'paused'`: it has a descriptor of the listening socket and does not accept. `'released'`: a successor
 * has it.
 */
type State = 'unbound' | 'bound' | 'serving' | 'paused' | 'released' | 'closed';

/** What a listener tells of its server. */
interface Heard {
  closed(): void;
  /** The program has closed it, and clients may still be connected. */
  stopped(listener: StreamListener): void;
}

/** Node's default. */
const BACKLOG = 511;
const PATH_MODE = 0o777;

/** A `net.Server`, or one derived from it: of HTTP, HTTPS, HTTP/2, TLS. */
export class StreamListener implements Listener {
  readonly name: string;
  readonly #server: Server;
  readonly #args: readonly unknown[];
  readonly #wanted: Wanted;
  readonly #connected: Connected;
  readonly #hearClose: () => void;
  readonly #stopHearing: () => void;
  /** Whether the server is closed, or was never bound. */
  #forgotten = false;
  /** It counts as listening already. */
  readonly #promised: boolean;
  #state: State = 'unbound';
  /** While it does not accept. */
  #socket: OwnedFd | undefined;
  /** The path, while this process is the one to remove it. */
  #place: Place | undefined;
  /** The same, when this process serves for good: until then it is the predecessor's. */
  #inheritedPlace: Place | undefined;
  #file: string | undefined;

  /** Called when the server does not listen any more, although clients may still be connected. */
  readonly #stopped: () => void;

  /** `args` are those of `server.listen()`, without a callback, and `wanted` is what they ask for. */
  constructor(
    name: string,
    server: Server,
    args: readonly unknown[],
    wanted: Wanted,
    settings: LiveSettings,
    heard: Heard,
  ) {
    this.name = name;
    this.#server = server;
    this.#args = args;
    this.#wanted = wanted;
    this.#connected = Connected.of(server, settings);
    this.#promised = isPromised(server);
    this.#hearClose = () => {
      const { serving } = this;
      this.#forget();
      this.#state = 'closed';
      this.#socket?.close();
      if (serving) this.#leavePath();
      heard.closed();
    };
    this.#stopped = () => heard.stopped(this);
    this.#stopHearing = onceClosed(server, this.#hearClose);
    const { signal } = this.#options;
    if (signal !== undefined) closeAtAbort(server, signal);
  }

  endIfClosed(): boolean {
    const { serving } = this;
    const ends = !this.#forgotten && !this.#server.listening && (serving || this.#state === 'closed');
    if (ends) this.#hearClose();
    return ends;
  }

  get transferable(): boolean {
    return this.#wanted.kind !== 'nameless' && this.#state === 'serving' && this.#server.listening;
  }

  get serving(): boolean {
    return this.#state === 'serving';
  }

  get endpoint(): Endpoint {
    if (this.#wanted.kind === 'unix') {
      const { path } = this.#wanted;
      return { kind: 'unix', path, ...(this.#file === undefined ? {} : { file: this.#file }) };
    }
    const { address, port } = this.#server.address() as AddressInfo;
    return { kind: 'tcp', address, port };
  }

  accepts(endpoint: Endpoint): boolean {
    return fits(endpoint, this.#wanted);
  }

  get path(): string | undefined {
    return this.#wanted.kind === 'unix' && !isAbstract(this.#wanted.path) ? this.#wanted.path : undefined;
  }

  async bind(inherited: Inherited | undefined): Promise<void> {
    if (this.#state !== 'unbound') return this.#bindAgain(inherited);
    if (inherited !== undefined) this.#inherit(inherited);
    else if (this.path !== undefined) this.#bindPath();
    else this.#socket = await boundBy(this.#withoutSignal);
    this.#state = 'bound';
  }

  /** If it accepts, it does so again at once. */
  #bindAgain(inherited: Inherited | undefined): void {
    const { serving } = this;
    this.pause();
    if (this.#state !== 'paused') {
      inherited?.socket.close();
      throw new Error('It is closed');
    }
    try {
      this.#bindElsewhere(inherited);
    } finally {
      if (serving) this.resume();
    }
  }

  /** What waits at the socket of before is lost with it. If this throws, that stays. */
  #bindElsewhere(inherited?: Inherited): void {
    const before = this.#socket;
    if (inherited === undefined) this.#bindPath();
    else this.#inherit(inherited);
    before?.close();
  }

  /**
   * Binds the path here, because Node would remove it when it closes its handle. As with Node, the mode is what the
   * umask leaves.
   */
  #bindPath(): void {
    const { path, umask } = this.#wanted as { path: string; umask: number };
    const { backlog = BACKLOG, readableAll = false, writableAll = false } = this.#options;
    const mode = (PATH_MODE & ~umask) | (readableAll ? 0o444 : 0) | (writableAll ? 0o222 : 0);
    const [fd, place] = bindPath(path, { type: typeNumber('stream'), mode, backlog });
    this.#socket = ownMade(fd);
    this.#place = place;
    this.#file = fileAt(path);
  }

  #inherit({ socket, endpoint }: Inherited): void {
    this.#socket = socket;
    if (endpoint?.kind !== 'unix' || isAbstract(endpoint.path)) return;
    this.#file = endpoint.file;
    const stats = lstatSync(endpoint.path, { bigint: true, throwIfNoEntry: false });
    if (stats !== undefined && endpoint.file === `${stats.dev}:${stats.ino}`)
      this.#inheritedPlace = new Place(endpoint.path, stats);
  }

  keepForGood(): void {
    this.#place ??= this.#inheritedPlace;
  }

  fail(error: Error): void {
    this.#closed();
    this.#forget();
    this.#connected.leave();
    endPromise(this.#server);
    this.#server.emit('error', error);
  }

  share(): OwnedFd {
    this.#place = undefined;
    this.#file = undefined;
    return this.duplicate();
  }

  async serve(): Promise<void> {
    if (this.#forgotten || (this.#promised && !endPromise(this.#server))) return this.#closed();
    const listening = whenListening(this.#server);
    this.serveNow();
    onceStopped(this.#server, this.#stopped);
    await listening;
  }

  #forget(): void {
    this.#forgotten = true;
    this.#stopHearing();
  }

  /** Before it listened. */
  #closed(): void {
    this.#state = 'closed';
    this.#socket?.close();
    this.#leavePath();
  }

  /** As `serve`, without waiting; `'listening'` or `'error'` is emitted soon. */
  serveNow(): void {
    const { backlog = BACKLOG } = this.#options;
    listenAs(this.#server, { fd: this.#socket!.take(), backlog, exclusive: true });
    if (this.#wanted.kind === 'unix') notePath(this.#server, this.#wanted.path);
    this.#socket = undefined;
    this.#state = 'serving';
  }

  /** The program's own `listen()` has bound it. */
  adopt(): void {
    this.#state = 'serving';
  }

  duplicate(): OwnedFd {
    return this.#socket?.dup() ?? duplicateOf(this.#server);
  }

  /** The program may have closed the server already, and hear that only when its connections have ended. */
  pause(): void {
    if (this.#state !== 'serving' || !this.#server.listening) return;
    this.#socket = duplicateOf(this.#server);
    this.#state = 'paused';
    stopAccepting(this.#server, () => {
      if (this.#state !== 'paused') return;
      this.#state = 'closed';
      this.#socket!.close(); // clients would wait there for nobody, if the successor ended
      this.#socket = undefined;
    });
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    attempt(() => {
      // A successor that failed may have bound the path anew.
      if (this.#file !== undefined && fileAt(this.path!) !== this.#file) this.#bindElsewhere();
    });
    acceptAgain(this.#server, this.#socket!);
    this.#socket = undefined;
    this.#state = 'serving';
    this.#connected.stay();
  }

  release(): void {
    this.#socket?.close();
    this.#socket = undefined;
    if (this.#state !== 'closed') this.#state = 'released';
  }

  get liveKinds(): readonly string[] {
    return this.#connected.liveKinds;
  }

  adoptLive(key: number, kind: string, fd: OwnedFd, state: Json): void {
    this.#connected.adoptLive(key, kind, fd, state);
  }

  ownLive(key: number, late: Buffer, more: boolean): void {
    this.#connected.ownLive(key, late, more);
  }

  ownAllLive(): void {
    this.#connected.ownAllLive();
  }

  carry(carrier: Carrier): void {
    this.#connected.carry(carrier);
  }

  leaveLive(signal: AbortSignal, alone: Promise<void>, kinds?: readonly string[]): AsyncGenerator<Carried, void> {
    return this.#connected.leaveLive(signal, alone, kinds);
  }

  drain(): void {
    this.#connected.drain();
  }

  whenGone(): Promise<void> {
    return this.#connected.whenGone();
  }

  cut(): void {
    this.#connected.cut();
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
    if (this.#server.listening) closeListening(this.#server);
  }

  get #options(): { backlog?: number; readableAll?: boolean; writableAll?: boolean; signal?: AbortSignal } {
    const [first] = this.#args;
    if (typeof first === 'object' && first !== null) return first;
    const backlog = this.#args.slice(1).find((value) => typeof value === 'number');
    return backlog === undefined ? {} : { backlog };
  }

  get #withoutSignal(): unknown[] {
    return this.#args.map((value) => (value === this.#options ? { ...value, signal: undefined } : value));
  }

  #leavePath(): void {
    attempt(() => this.#place?.leave());
  }
}

/** A listening socket that Node binds for these arguments, without accepting from it. */
async function boundBy(args: readonly unknown[]): Promise<OwnedFd> {
  const binder = new builtin.net.Server();
  const listening = once(binder, 'listening');
  listenAs(binder, ...args);
  await listening;
  const socket = duplicateOf(binder);
  binder.close();
  return socket;
}
