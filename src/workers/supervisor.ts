import { EventEmitter } from 'node:events';
import type { AddressInfo } from 'node:net';
import { invalidReturn } from '../common/arguments.js';
import { uncaught } from '../common/uncaught.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { closed, supervisesItself, unserved } from '../errors.js';
import { refuseIn } from '../native/runtime.js';
import type { ListenOptions, TcpListenOptions } from '../endpoint/listen.js';
import type { TcpAddress } from '../endpoint/tcp-address.js';
import { TcpServer } from '../endpoint/tcp-server.js';
import { placeOf, sharedPlace, type Bound, type GivenSocket, type Place } from './bind.js';
import { Intake, type Taker } from './intake.js';
import { Held } from './held.js';
import type { Exit, Heir, Member } from './member.js';
import type { Listened, Moved } from './messages.js';
import { checkCount, settingsOf, type Settings, type SuperviseOptions } from './options.js';
import { leastBusy, sameFor } from './pick.js';
import { keyOf, type Shared } from './shared.js';
import { Slot } from './slot.js';
import { Succession } from './succession.js';
import { isWorkerOf } from './worker.js';

/** The state of a worker at this moment. */
export interface WorkerState {
  /** 0 and up. A worker has the slot of the one that it replaces. */
  slot: number;
  pid: number | undefined;
  state: 'starting' | 'ready' | 'retiring' | 'gone';
  /** The measure for `'busy'`: open connections, or what the worker says, plus connections on their way to it. */
  load: number;
}

export interface SupervisorEvents {
  /** A worker was started, or is ready. */
  worker: [WorkerState];
  /** A worker has ended. */
  exit: [WorkerState, Exit];
  /** A worker has ended before it took a connection. Another worker gets the connection. */
  'given-back': [WorkerState];
  /** Another process has taken over: this one ends its workers when their connections have moved or ended. */
  replaced: [];
  /** Something went wrong that nobody waits for: a `pick` that throws, a worker that ends again and again. */
  error: [Error];
}

/**
 * Accepts connections and hands each to one of its workers. The supervisor owns a connection until the worker has
 * confirmed it, so that none is lost when a worker dies or stops.
 */
export class Supervisor extends EventEmitter<SupervisorEvents> {
  readonly #settings: Settings;
  readonly #slots: Slot[] = [];
  /** All that have not ended, by pid. */
  readonly #members = new Map<number | undefined, Member>();
  readonly #intakes = new Set<Intake>();
  /** Those of them that `listen` was called for. */
  readonly #own = new Set<Intake>();
  /** Those that programs in workers have asked for, by what they asked for. `intake`: once a program serves it. */
  readonly #shared = new Map<string, { opened: Promise<Intake>; intake?: Intake }>();
  readonly #succession: Succession | undefined;
  #turn = 0;
  #inHand = 0;
  /** Those of `#inHand` that no worker can be given now. */
  #waiting: Held[] = [];
  /** Live connections that no worker could go on with yet. */
  #orphans: Moved[] = [];
  readonly #changes = new Set<() => void>();
  #reloading: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  /** Has what live connections there are, once another process has taken over. */
  #heir: Heir | undefined;

  /** @internal */
  constructor(file: string | URL, options: SuperviseOptions) {
    super();
    this.#settings = settingsOf(file, options);
    if (isWorkerOf(this.#settings.file)) throw supervisesItself();
    const { count, takeover } = this.#settings;
    if (takeover !== undefined)
      this.#succession = new Succession(takeover, {
        whenReady: async () => void (await Promise.all(this.#slots.map((slot) => slot.whenReady()))),
        leave: (heir) => this.#endWith(heir),
        cut: () => this.#members.forEach((member) => member.kill()),
        adopt: (slot, moved) => void this.#slots[slot % this.#slots.length]!.adopt(moved),
        replaced: () => this.#say('replaced'),
        failed: (error) => this.#fail(error),
      });
    this.#grow(count);
  }

  /** All workers that have not ended, and are not retiring. */
  get list(): WorkerState[] {
    return this.#slots.flatMap(({ members }) => members).map(stateOf);
  }

  /**
   * Listens, as `listen` of `fdpasser` does: at a port, or at a path; or takes a listening socket over, from a service
   * manager say. Several are possible. Connections are accepted as workers can take them. Resolves with the address, or
   * the path. Rejects as `listen`, `TcpServer.from` and `takeover` do, and with `ERR_FDPASSER_CLOSED`.
   */
  listen(options: TcpListenOptions): Promise<TcpAddress>;
  listen(path: string, options?: ListenOptions): Promise<string>;
  listen(socket: GivenSocket): Promise<TcpAddress | string>;
  async listen(at: string | TcpListenOptions | GivenSocket, options?: ListenOptions): Promise<TcpAddress | string> {
    this.#checkOpen();
    const intake = await this.#open(placeOf(at, options));
    this.#own.add(intake);
    this.#lookAtListeners();
    return addressOf(intake);
  }

  /**
   * Replaces the workers one after another: each retires when its successor is ready. Resolves when all have been
   * replaced. Rejects with `ERR_FDPASSER_WORKER` when a successor does not get ready; its predecessor then serves on,
   * and so do the workers that were not yet replaced. A second reload waits for the first.
   */
  reload(): Promise<void> {
    const reload = this.#reloading.then(async () => {
      this.#checkOpen();
      for (const slot of this.#slots.slice()) await slot.replace();
    });
    this.#reloading = reload.catch(() => {});
    return reload;
  }

  /** Changes the number of workers. Surplus workers retire. */
  scale(count: number): void {
    this.#checkOpen();
    checkCount('count', count);
    this.#grow(count);
    for (const slot of this.#slots.splice(count)) slot.remove();
    this.#changed();
    this.#lookAtListeners();
  }

  /**
   * Stops accepting, hands over what was accepted, for as long as a worker has to retire, and lets the workers end.
   * Closes what no worker can take. Resolves when they have ended. Another call returns the same promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    for (const intake of this.#intakes) intake.close();
    this.#succession?.close();
    await this.#endAll();
  }

  /** A successor accepts from now on; what moves is the heir's. */
  #endWith(heir: Heir): Promise<void> {
    this.#heir = heir;
    this.#closing ??= this.#endAll(heir);
    return this.#closing;
  }

  async #endAll(heir?: Heir): Promise<void> {
    this.#changed();
    await this.#handOver();
    for (const slot of this.#slots) slot.remove(heir);
    this.#changed(); // what nobody can take any more is closed
    await Promise.all([...this.#members.values()].map(({ exited }) => exited));
    this.#changed();
  }

  /** Resolves when all that was accepted here is handed over, or could not be in time. */
  async #handOver(): Promise<void> {
    const late = new AbortController();
    late.signal.addEventListener('abort', () => this.#changed());
    const limit = setTimeout(() => late.abort(), this.#settings.retire);
    while (this.#isAtWork && !late.signal.aborted) await this.#change();
    clearTimeout(limit);
  }

  /** Whether something that was accepted here can still be handed over. */
  get #isAtWork(): boolean {
    const looking = [...this.#intakes].some((intake) => intake.looking > 0);
    return (
      (looking || this.#inHand > 0 || this.#orphans.length > 0) && this.#slots.some(({ members }) => members.length > 0)
    );
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw closed('supervisor', 'close() was called');
  }

  // ---- listeners

  async #open(place: Place): Promise<Intake> {
    const begin = (server: Intake['server']): Intake => {
      const intake = new Intake(server, place, this.#taker, this.#settings);
      this.#intakes.add(intake);
      return intake;
    };
    const opened = this.#succession?.open(place, begin) ?? bind(place).then(begin);
    const intake = await opened.catch((error: unknown) => {
      this.#checkOpen();
      throw error;
    });
    if (this.#closing !== undefined) this.#discard(intake);
    this.#checkOpen();
    if (this.#succession === undefined) intake.accept();
    return intake;
  }

  get #taker(): Taker {
    return {
      room: (listener) => this.#room(listener),
      take: (connections) => {
        this.#inHand += connections.length;
        this.#deal(connections);
      },
      changed: () => this.#changed(),
      failed: (error) => this.#tell(error),
    };
  }

  /** A program in a worker has called `listen()`. */
  async #listenFor(at: Shared): Promise<Listened> {
    this.#checkOpen();
    const key = keyOf(at) ?? JSON.stringify(at);
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      shared = { opened: this.#open(sharedPlace(at)) };
      this.#shared.set(key, shared);
      shared.opened.catch(() => this.#shared.delete(key));
    }
    const intake = await shared.opened;
    shared.intake = intake;
    intake.keepPath(); // each worker may remove it before it listens there
    return { listener: intake.name, address: addressOf(intake) as AddressInfo | string };
  }

  /**
   * Looks whether each listener is served, once all workers are ready. One that only programs in workers have asked for
   * is closed otherwise, as Node would have done. Any other is reported, because its clients wait.
   */
  #lookAtListeners(): void {
    setImmediate(() => {
      if (this.#closing !== undefined || !this.#slots.every(({ current }) => current?.state === 'ready')) return;
      const isServed = ({ name }: Intake): boolean => this.#serving(name).length > 0;
      for (const [key, { intake }] of this.#shared)
        if (intake !== undefined && !isServed(intake)) this.#stop(key, intake);
      for (const intake of this.#own) {
        const isNew = !intake.isReported;
        intake.isReported = !isServed(intake);
        if (isNew && intake.isReported) this.#tell(unserved(intake.name));
      }
    }); // a program that closes its server may listen again at once
  }

  #stop(key: string, intake: Intake): void {
    this.#shared.delete(key);
    this.#discard(intake);
    this.#changed(); // what waits for it is closed
  }

  #discard(intake: Intake): void {
    this.#intakes.delete(intake);
    this.#succession?.closed(intake);
    intake.close();
  }

  // ---- workers

  #grow(count: number): void {
    while (this.#slots.length < count)
      this.#slots.push(
        new Slot(this.#slots.length, this.#settings, {
          started: (member) => {
            this.#members.set(member.pid, member);
            queueMicrotask(() => this.#say('worker', stateOf(member)));
          },
          ready: (member) => {
            this.#say('worker', stateOf(member));
            this.#changed();
            this.#lookAtListeners();
          },
          changed: () => this.#changed(),
          listen: (at) => this.#listenFor(at),
          servesOthers: () => this.#lookAtListeners(),
          back: (listener, fd) => this.#takeBack(listener, fd),
          refused: (connection, error) => {
            Held.closeAll([connection]);
            this.#tell(error);
          },
          orphaned: (moved) => this.#adoptAnywhere(moved),
          gone: (member, exit) => {
            this.#members.delete(member.pid);
            this.#say('exit', stateOf(member), exit);
            this.#changed();
          },
          failed: (error) => this.#tell(error),
        }),
      );
  }

  #takeBack(listener: string, fd: OwnedFd): void {
    this.#inHand++;
    const connection = new Held(fd, listener);
    connection.key = null;
    this.#deal([connection]);
  }

  /** The worker of the slot does not take connections any more. */
  #adoptAnywhere(moved: Moved): void {
    const slot = this.#slots.find(({ current }) => current?.state === 'ready');
    if (this.#heir !== undefined) this.#heir.take(moved, 0);
    else if (slot !== undefined) void slot.adopt(moved);
    else if (this.#isOver) moved.fd.close();
    else this.#orphans.push(moved);
  }

  // ---- connections

  /** Hands each to a worker. Those that nobody can take now wait. */
  #deal(connections: readonly Held[]): void {
    const hands = new Map<Member, Held[]>();
    for (const connection of connections) {
      const member = this.#memberFor(connection);
      if (member === undefined) {
        this.#keep(connection);
        continue;
      }
      member.expect();
      const hand = hands.get(member);
      if (hand === undefined) hands.set(member, [connection]);
      else hand.push(connection);
    }
    for (const [member, hand] of hands)
      for (const [listener, part] of byListener(hand)) void this.#give(member, listener, part);
  }

  /** It waits, unless nobody will take it. */
  #keep(connection: Held): void {
    if (this.#mayBeServed(connection)) {
      this.#waiting.push(connection);
      return;
    }
    this.#inHand--;
    Held.closeAll([connection]);
  }

  #mayBeServed({ listener, key }: Held): boolean {
    if (this.#closing === undefined) return [...this.#intakes].some(({ name }) => name === listener);
    const picked = typeof key === 'number' ? this.#members.get(key) : undefined;
    return (
      picked?.stillServes(listener) === true || [...this.#members.values()].some((member) => member.mayServe(listener))
    );
  }

  async #give(member: Member, listener: string, hand: readonly Held[]): Promise<void> {
    const back = await member.give(listener, hand);
    this.#inHand -= hand.length - back.length;
    for (let i = 0; i < back.length; i++) this.#say('given-back', stateOf(member));
    if (back.length > 0) this.#deal(back);
    this.#changed();
  }

  get #isOver(): boolean {
    return this.#closing !== undefined && this.#slots.every(({ members }) => members.length === 0);
  }

  #serving(listener: string): Member[] {
    return this.#slots.map(({ current }) => current).filter((member) => member?.serves(listener) === true) as Member[];
  }

  /** Those of them that can be given one more now. */
  #able(listener: string): Member[] {
    const able: Member[] = [];
    for (const { current } of this.#slots)
      if (current?.serves(listener) === true && current.hasRoom && !current.isSilent) able.push(current);
    return able;
  }

  /** Who gets it, if anybody can be given it now. */
  #memberFor(connection: Held): Member | undefined {
    const key = this.#keyOf(connection);
    if (typeof key === 'number') {
      const member = this.#members.get(key);
      if (member?.stillServes(connection.listener) === true && canWait(member)) return withRoom(member);
    }
    if (typeof key === 'string') {
      const picked = this.#serving(connection.listener).filter(canWait);
      return picked.length > 0 ? withRoom(sameFor(key, picked)) : undefined;
    }
    const able = this.#able(connection.listener);
    if (able.length === 0) return undefined;
    return this.#settings.pick === 'turn' ? able[this.#turn++ % able.length] : leastBusy(able);
  }

  /** What `pick` returns, asked for once; null when it does not count. */
  #keyOf(connection: Held): Held['key'] {
    const { pick } = this.#settings;
    if (typeof pick !== 'function' || connection.key !== undefined) return connection.key;
    const { listener, address, first } = connection;
    try {
      const key: unknown = pick({ address, listener, ...(first === undefined ? {} : { first }) });
      if (typeof key !== 'string' && typeof key !== 'number')
        throw invalidReturn('options.pick', 'a string or a number', key);
      connection.key = key;
    } catch (error) {
      connection.key = null;
      this.#tell(error as Error);
    }
    return connection.key;
  }

  /** How many connections may be accepted there now: those that can be given. Others wait in the kernel's backlog. */
  #room(listener: string): number {
    const waiting = this.#waiting.filter((connection) => connection.listener === listener).length;
    const room = this.#able(listener).reduce((sum, member) => sum + member.room, 0);
    return Math.max(0, room - waiting);
  }

  /** Resolves when something changes about the workers, or about the connections in hand. */
  #change(): Promise<void> {
    return new Promise((resolve) => this.#changes.add(resolve));
  }

  #changed(): void {
    if (this.#waiting.length > 0) this.#deal(this.#waiting.splice(0));
    for (const moved of this.#orphans.splice(0)) this.#adoptAnywhere(moved);
    const waiting = [...this.#changes];
    this.#changes.clear();
    for (const resolve of waiting) resolve();
    for (const intake of this.#intakes) intake.look();
  }

  /** A takeover has failed: another process serves, or none. */
  #fail(error: Error): void {
    this.#tell(error);
    void this.close();
  }

  #tell(error: Error): void {
    if (this.listenerCount('error') > 0) this.#say('error', error);
    else process.emitWarning(error);
  }

  #say<Name extends keyof SupervisorEvents>(name: Name, ...about: SupervisorEvents[Name]): void {
    uncaught(() => (this as EventEmitter).emit(name, ...about));
  }
}

/**
 * Starts workers, and returns what hands them connections. `file` is a module that calls `worker()`, or with `register`
 * any program; a relative one begins at the working directory. Throws `ENOENT` when it is not there, and argument
 * errors, and `ERR_FDPASSER_RUNTIME` outside Node.
 */
export function supervise(file: string | URL, options: SuperviseOptions = {}): Supervisor {
  refuseIn(['bun', 'deno'], 'supervise()', 'Their servers take no connection of another process: run it on Node');
  return new Supervisor(file, options);
}

/** Binds at once, if nothing has to be looked up. */
async function bind(place: Place): Promise<Bound> {
  return place.bind();
}

function stateOf({ slot, pid, state, load }: Member): WorkerState {
  return { slot, pid, state, load };
}

function addressOf({ server, name }: Intake): TcpAddress | string {
  return server instanceof TcpServer ? server.address() : name;
}

/** Whether a connection that was picked for it waits for it: one that confirms will soon have room. */
function canWait(member: Member): boolean {
  return member.hasRoom || !member.isSilent;
}

function withRoom(member: Member): Member | undefined {
  return member.hasRoom ? member : undefined;
}

function byListener(hand: readonly Held[]): Iterable<[string, readonly Held[]]> {
  const { listener } = hand[0]!;
  if (hand.every((each) => each.listener === listener)) return [[listener, hand]];
  const parts = new Map<string, Held[]>();
  for (const each of hand) parts.set(each.listener, [...(parts.get(each.listener) ?? []), each]);
  return parts;
}
