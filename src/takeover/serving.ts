import type { Socket as DatagramSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import type { Server } from 'node:net';
import { attempt } from '../common/attempt.js';
import { invalidType, invalidValue } from '../common/arguments.js';
import { builtin } from '../common/lazy-modules.js';
import { uncaught } from '../common/uncaught.js';
import { OwnedFd } from '../descriptor/owned-fd.js';
import { takeoverBusy, wrongState } from '../errors.js';
import { Control, type WithSuccessor } from './control.js';
import { DatagramListener } from './listeners/datagram-listener.js';
import { Refusal, type Keeper } from './keeper.js';
import type { Inherited, Listener } from './listeners/listener.js';
import { StreamListener } from './listeners/stream-listener.js';
import { wantedOfServer, type Wanted } from './listeners/wanted.js';
import { NOTHING, type Json } from './live/carried.js';
import { carryOver, partsOf } from './live/carry-over.js';
import type { Carrier } from './live/index.js';
import { Turns } from './live/turns.js';
import * as serviceManager from './manager.js';
import { VERSION } from './messages.js';
import type { Settings } from './options.js';
import { answer, handOver, type LiveTaken } from './predecessor.js';
import type { Live, Succession } from './successor.js';
import { trace } from './trace.js';
import { upgrade, type Upgrade, type UpgradeOptions } from './upgrade.js';

/**
 * `'initializing'`: before `ready()`. `'ready'`: waits until the old process stops accepting. `'probation'`: serves,
 * and the old one can still come back. `'serving'`. `'handing-over'`: a successor is in its probation. `'draining'`: a
 * successor has everything except the connections here. `'leaving'`: the takeover was rolled back, and connections that
 * were accepted here go on.
 */
export type ServingState =
  | 'initializing'
  | 'ready'
  | 'probation'
  | 'serving'
  | 'handing-over'
  | 'draining'
  | 'drained'
  | 'leaving'
  | 'rolledback';

/** Another process of a takeover. */
export interface OtherProcess {
  readonly pid: number;
}

export interface ServingEvents {
  /** This process accepts from now on. */
  serving: [];
  /** A successor serves for good; this process drains. */
  handover: [successor: OtherProcess];
  /** A successor failed, and this process serves as before. */
  rollback: [error: Error];
  /** The predecessor serves again. The connections that this process had accepted are done. */
  rolledback: [error: Error];
  /** Nobody is connected here any more. */
  drained: [];
}

/** The arguments of a server's `listen()`, or of a datagram socket's `bind()`. */
export type ListenArguments = readonly unknown[];

/**
 * Milliseconds between attempts to take the control path of a process that died, or a listener of the predecessor: the
 * kernel may still be closing it.
 */
const RETRY = 20;

/** Milliseconds after which nobody has inherited listeners any more that no listener here has asked for. */
const RELEASE = 1000;

const LISTENS = new Set<ServingState>(['initializing', 'probation', 'serving', 'handing-over']);

/** How many live connections one message carries at most. */
const AT_ONCE = 16;

/**
 * This process's part in serving at a control path. It has taken over, or is the first, and later hands over itself.
 */
export class Serving extends EventEmitter<ServingEvents> {
  readonly #path: string;
  readonly #settings: Settings;
  readonly #listeners = new Map<string, Listener>();
  /** Those that the program has closed, while somebody is connected. */
  readonly #closing = new Set<Listener>();
  /** What was inherited, until this process serves for good: a program may close and listen again. */
  readonly #inherited: Map<string, Inherited>;
  readonly #predecessor: OtherProcess | undefined;
  /** When both processes have closed the listeners that this one did not ask for. */
  #released = 0;
  #succession: Succession | undefined;
  #control: Control | undefined;
  #controlRetry: NodeJS.Timeout | undefined;
  #state: ServingState = 'initializing';
  /** Resolves when no predecessor sends live connections any more. */
  readonly #alone: Promise<void>;
  #whenAlone: () => void = () => {};
  #closesListeners = true;
  #unbound: (() => void) | undefined;
  #keeper: Keeper | undefined;
  readonly #carriers = new Map<string, Carrier>();
  /** For connections that go on here. */
  readonly #turns = new Turns();
  /** Why this process does not serve. */
  #failure: Error | undefined;
  #probation: NodeJS.Timeout | undefined;
  #confirming: { resolve(): void; reject(error: Error): void }[] = [];
  readonly #upgrades = new Set<Upgrade>();
  /** The successor that is taking over. */
  #successor: WithSuccessor | undefined;
  /** Conversations of takeovers that were rolled back: only the other process ends them. */
  readonly #past = new Set<WithSuccessor>();

  /** @internal */
  constructor(path: string, settings: Settings, succession: Succession | undefined) {
    super();
    this.#path = path;
    this.#settings = settings;
    this.#succession = succession;
    this.#inherited = succession?.inherited ?? new Map();
    this.#predecessor = succession && { pid: succession.pid };
    this.#alone = succession === undefined ? Promise.resolve() : new Promise((resolve) => (this.#whenAlone = resolve));
    if (succession === undefined) this.#control = this.#listenForSuccessors();
    else
      succession.follow({
        confirmed: (control) => this.#confirmed(control),
        returnControl: () => this.#returnControl(),
        orphaned: () => this.#orphaned(),
        rolledBack: (error) => void this.#leave(error),
        live: (message, fds) => this.#adoptLive(message, fds),
        late: ({ name, key, bytes }) => this.#ownLive(name, key, Buffer.from(bytes, 'base64'), true),
        yours: async ({ name, keys }) => {
          for (const key of keys) {
            if (this.#turns.over) await this.#turns.next();
            this.#ownLive(name, key, NOTHING, false);
          }
        },
        over: () => this.#isAlone(),
      });
  }

  /** The process that served before this one; `undefined` for the first. */
  get predecessor(): OtherProcess | undefined {
    return this.#predecessor;
  }

  get state(): ServingState {
    return this.#state;
  }

  /** @internal Whether something is inherited that no listener has asked for. */
  wantsMore(): boolean {
    return [...this.#inherited.keys()].some((name) => !this.#listeners.has(name));
  }

  /** @internal Whether it does not serve yet, and has nothing to serve. */
  get isIdle(): boolean {
    return this.#listeners.size === 0 && (this.#state === 'initializing' || this.#state === 'ready');
  }

  /**
   * @internal The program knows nothing of this. It closes its servers itself when they have drained, and one that
   * cannot listen gets an `'error'`: `unbound` is called after that, and `ready()` goes on without it.
   */
  servesUnmodified(unbound: () => void): void {
    this.#closesListeners = false;
    this.#unbound = unbound;
  }

  /** @internal From now on listeners are shared by this keeper, who decides when this process serves. */
  keepBy(keeper: Keeper | undefined): void {
    this.#keeper = keeper;
  }

  get #manager(): Pick<typeof serviceManager, 'tellReady' | 'tellReloading'> {
    return this.#keeper ?? serviceManager;
  }

  /** @internal */
  has(name: string): boolean {
    return this.#listeners.has(name);
  }

  /** @internal What the program has closed loses its name, though clients may still be connected. */
  endClosed(): void {
    for (const listener of this.#listeners.values()) {
      if (listener.endIfClosed?.() !== true) continue;
      this.#closing.add(listener);
      void listener.whenGone().then(() => this.#closing.delete(listener));
    }
  }

  /**
   * Gives a name to what a server listens on. It is inherited if the predecessor has it under that name, or else bound
   * anew. The server listens when this process serves (`ready()`), or at once if the process already does; an error is
   * then an `'error'` of the server. `options` are those of `server.listen()`, or of `bind()` for a datagram socket.
   * Port 0 is never inherited.
   */
  listen(name: string, server: Server | DatagramSocket, options?: unknown): this {
    if (typeof name !== 'string' || name === '') throw invalidType('name', 'a string that is not empty', name);
    if (this.#listeners.has(name)) throw invalidValue('name', 'a name that no other listener has', name);
    if (server instanceof builtin.net.Server && server.listening)
      throw invalidValue('server', 'a server that does not listen yet: leave out its own listen()', server);
    this.add(name, server, options === undefined ? [] : [options]);
    return this;
  }

  /** @internal `wanted`: what the arguments asked for when the program gave them. */
  add(name: string, server: Server | DatagramSocket, args: ListenArguments, wanted?: Wanted): void {
    this.#checkListens();
    const listener = this.#listenerOf(name, server, args, wanted);
    this.#note(listener);
    if (this.#state !== 'initializing')
      this.#serve([listener]).catch((error: Error) => {
        this.#listeners.delete(name);
        listener.fail(error);
      });
  }

  /** @internal Resolves when it is inherited or bound; if this process serves already, when it accepts. */
  async enlist(listener: Listener): Promise<void> {
    this.#checkListens();
    this.#note(listener);
    try {
      if (this.#state === 'initializing') await this.#bind(listener);
      else await this.#serve([listener]);
    } catch (error) {
      this.#listeners.delete(listener.name);
      throw error;
    }
  }

  #checkListens(): void {
    if (!LISTENS.has(this.#state)) throw wrongState('listen()', this.#state);
  }

  #note(listener: Listener): void {
    const carrier = this.#carriers.get(listener.name);
    if (carrier !== undefined) listener.carry(carrier);
    this.#listeners.set(listener.name, listener);
  }

  #listenerOf(
    name: string,
    server: Server | DatagramSocket,
    args: ListenArguments,
    wanted?: Wanted,
  ): StreamListener | DatagramListener {
    const closed = (): void => this.closed(name);
    if (server instanceof builtin.dgram.Socket) return new DatagramListener(name, server, args, closed);
    if (server instanceof builtin.net.Server)
      return new StreamListener(name, server, args, wanted ?? wantedOfServer(args), this.#settings.live, {
        closed,
        // The old process can serve again, at once.
        stopped: (listener) => this.#state === 'probation' && listener.endIfClosed(),
      });
    throw invalidType(
      'server',
      'a net.Server, one derived from it such as that of http.createServer(), or a dgram.Socket',
      server,
    );
  }

  /**
   * Resolves when this process serves: at once for the first, otherwise when the old one has stopped accepting. Rejects
   * with `ERR_FDPASSER_ROLLED_BACK` when the old one goes on, or with the error that keeps a server from listening. The
   * old one then serves as before, and this process must end.
   */
  async ready(): Promise<this> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#state !== 'initializing') throw wrongState('ready()', this.#state);
    const listeners: Listener[] = [];
    try {
      for (const listener of this.#listeners.values()) if (await this.#isBound(listener)) listeners.push(listener);
      if (this.#failure !== undefined) throw this.#failure;
      this.#state = 'ready';
      await this.#keeper?.ready();
      await this.#succession?.ready();
      if (this.#failure !== undefined) throw this.#failure; // abort() was called meanwhile
      await Promise.all(listeners.map((listener) => listener.serve()));
    } catch (error) {
      await this.#giveUp(error as Error);
      throw error;
    }
    this.#begin();
    return this;
  }

  /**
   * Ends the probation: the old process can no longer serve again. Resolves when it has agreed. Rejects with
   * `ERR_FDPASSER_ROLLED_BACK` when it had rolled the takeover back meanwhile. Does nothing when this process already
   * serves for good.
   */
  confirm(): Promise<void> {
    if (this.#state === 'serving' || this.#state === 'handing-over') return Promise.resolve();
    if (this.#state !== 'probation') return Promise.reject(wrongState('confirm()', this.#state));
    const confirmed = new Promise<void>((resolve, reject) => this.#confirming.push({ resolve, reject }));
    clearTimeout(this.#probation);
    this.#succession?.confirm([...this.#listeners.values()].filter(({ liveKinds }) => liveKinds.length > 0));
    return confirmed;
  }

  /**
   * Gives the takeover up: the old process serves again, and connections that were accepted here go on until they are
   * done. Resolves when they are done, with `'rolledback'`. Possible until this process serves for good.
   */
  async abort(error: Error = new Error('abort() was called')): Promise<void> {
    if (!['initializing', 'ready', 'probation'].includes(this.#state)) throw wrongState('abort()', this.#state);
    await this.#giveUp(error);
  }

  /**
   * Says how connections of the program's own protocol move, for the listener with this name. `save` is called in the
   * process that hands over, `restore` in its successor; both processes call `carry`. See `Carrier`.
   */
  carry<T extends Json>(name: string, carrier: Carrier<T>): this {
    if (typeof carrier?.save !== 'function' || typeof carrier.restore !== 'function')
      throw invalidType('carrier', 'an object with the functions save and restore', carrier);
    const restorer = carrier as unknown as Carrier; // it restores what another version of it saved
    this.#listeners.get(name)?.carry(restorer);
    this.#carriers.set(name, restorer);
    return this;
  }

  /**
   * Starts a successor, by default the same program again, and resolves with its pid when it serves for good. This
   * process then drains. Rejects when the successor fails; this process then serves as before.
   */
  upgrade(options: UpgradeOptions = {}): Promise<OtherProcess> {
    if (this.#state !== 'serving') return Promise.reject(wrongState('upgrade()', this.#state));
    if (this.#successor !== undefined) return Promise.reject(takeoverBusy(this.#path, this.#successor.pid));
    return upgrade(this.#upgrades, options, this.#settings.initTimeout, () => this.#successor !== undefined);
  }

  // ---- the new process

  /** What the predecessor has for a listener, if it fits what the listener wants. */
  #claim(listener: Listener): Inherited | undefined {
    const inherited = this.#inherited.get(listener.name);
    if (inherited?.endpoint === undefined || !listener.accepts(inherited.endpoint)) return undefined;
    return { ...inherited, socket: inherited.socket.dup() };
  }

  async #bind(listener: Listener): Promise<void> {
    for (;;) {
      try {
        const inherited = this.#claim(listener);
        return await (this.#keeper?.bind(listener, inherited) ?? listener.bind(inherited));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || performance.now() > this.#released) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY));
      }
    }
  }

  async #isBound(listener: Listener): Promise<boolean> {
    try {
      await this.#bind(listener);
      return true;
    } catch (error) {
      if (this.#unbound === undefined || listener.fail === undefined) throw error;
      this.#listeners.delete(listener.name);
      listener.fail(error as Error);
      this.#unbound();
      return false;
    }
  }

  async #serve(listeners: readonly Listener[]): Promise<void> {
    for (const listener of listeners) await this.#bind(listener);
    await Promise.all(listeners.map((listener) => listener.serve()));
    if (this.#state === 'serving') this.#control ??= this.#listenForSuccessors();
  }

  #begin(): void {
    this.#state = this.#succession === undefined ? 'serving' : 'probation';
    this.#succession?.serving();
    const { probation } = this.#settings;
    if (this.#state === 'serving') {
      this.#keepForGood();
      this.#manager.tellReady();
    } else if (probation !== Infinity) {
      this.#probation = setTimeout(() => void this.confirm().catch(() => {}), probation).unref();
    }
    trace('takeover: process %d serves', process.pid);
    uncaught(() => this.emit('serving'));
    this.#keeper
      ?.serving()
      .then(
        () => this.confirm(),
        // Without a predecessor it serves already.
        (error: Error) =>
          error instanceof Refusal && this.#state === 'serving' ? this.#giveUp(error) : this.abort(error),
      )
      .catch(() => {}); // the takeover has ended otherwise
  }

  #confirmed(control: OwnedFd): void {
    try {
      this.#control = Control.adopt(this.#path, control, this.#settings, (successor) => this.#greet(successor));
    } catch (error) {
      control.close();
      process.emitWarning(error as Error);
      this.#takeControl();
    }
    this.#servesForGood();
  }

  /** Connections of the predecessor go on here. */
  #adoptLive({ name, connections }: Live, fds: OwnedFd[]): void {
    for (const [index, { key, kind, state }] of connections.entries()) {
      try {
        this.#listenerFor(name).adoptLive(key, kind, fds[index]!, state);
      } catch (error) {
        fds[index]!.close();
        process.emitWarning(error as Error);
      }
    }
  }

  #ownLive(name: string, key: number, late: Buffer, more: boolean): void {
    attempt(() => this.#listenerFor(name).ownLive(key, late, more));
  }

  #listenerFor(name: string): Listener {
    const listener = this.#listeners.get(name);
    if (listener === undefined) throw invalidValue('name', 'of a listener here', name);
    return listener;
  }

  /** No predecessor sends anything more. */
  #isAlone(): void {
    this.#succession = undefined;
    for (const listener of this.#listeners.values()) listener.ownAllLive();
    this.#whenAlone();
  }

  /** The predecessor still has the control path. */
  #returnControl(): void {
    this.#control?.release();
    this.#control?.close();
    this.#control = undefined;
  }

  /** The predecessor has died. */
  #orphaned(): void {
    this.#isAlone();
    if (this.#state === 'leaving' || this.#state === 'rolledback') return;
    this.#takeControl();
    if (this.#state === 'probation') this.#servesForGood();
  }

  #servesForGood(): void {
    clearTimeout(this.#probation);
    if (this.#state === 'probation') {
      this.#state = 'serving';
      this.#released = performance.now() + RELEASE;
      this.#manager.tellReady();
    }
    this.#keepForGood();
    for (const confirming of this.#confirming.splice(0)) confirming.resolve();
  }

  #keepForGood(): void {
    this.#dropInherited();
    for (const listener of this.#listeners.values()) listener.keepForGood?.();
  }

  #dropInherited(): void {
    for (const { socket } of this.#inherited.values()) socket.close();
    this.#inherited.clear();
  }

  /** A process that has just started may have the path, and find that it cannot serve. */
  #takeControl(): void {
    try {
      this.#control = this.#listenForSuccessors();
    } catch (error) {
      trace('takeover: %s', (error as Error).message);
      this.#controlRetry = setTimeout(() => this.#takeControl(), RETRY).unref();
    }
  }

  /** This process does not serve after all. */
  async #giveUp(error: Error): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#stopServing();
    this.#succession?.abort(error);
    await this.#leave(error);
  }

  async #leave(error: Error): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#stopServing();
    this.#keeper?.leave();
    this.#state = 'leaving';
    for (const confirming of this.#confirming.splice(0)) confirming.reject(error);
    await this.#letGo();
    this.#succession?.end();
    this.#state = 'rolledback';
    uncaught(() => this.emit('rolledback', error));
    this.#closeListeners();
  }

  #stopServing(): void {
    clearTimeout(this.#probation);
    clearTimeout(this.#controlRetry);
    if (this.#succession !== undefined) this.#returnControl();
    this.#control?.close();
    this.#control = undefined;
    this.#dropInherited();
    for (const listener of this.#listeners.values()) {
      listener.pause();
      listener.release();
    }
  }

  // ---- the old process

  #listenForSuccessors(): Control {
    return Control.listen(this.#path, this.#settings, (successor) => this.#greet(successor));
  }

  /** A process has dialled. */
  async #greet(successor: WithSuccessor): Promise<void> {
    try {
      const { version } = await answer(successor, 'hello', this.#settings.stepTimeout);
      if (version !== VERSION) this.#refuse(successor, `it speaks version ${VERSION}, and not ${version}`);
      else if (successor.pid === process.pid) this.#refuse(successor, 'this process serves there itself');
      else if (this.#successor !== undefined || this.#state !== 'serving') {
        successor.say({ type: 'busy', pid: this.#successor?.pid ?? process.pid });
        void successor.channel.close();
      } else void this.#handOver(successor);
    } catch (error) {
      successor.end();
      throw error;
    }
  }

  #refuse(successor: WithSuccessor, reason: string): void {
    successor.say({ type: 'refused', reason });
    void successor.channel.close();
  }

  async #handOver(successor: WithSuccessor): Promise<void> {
    this.#successor = successor;
    this.#manager.tellReloading();
    let live: LiveTaken[];
    try {
      live = await handOver(successor, this.#estate(), this.#settings);
    } catch (error) {
      this.#tookBack(successor, error as Error);
      return;
    }
    this.#state = 'draining';
    trace('takeover: process %d drains', process.pid);
    this.#control!.close();
    for (const listener of this.#listeners.values()) {
      listener.pause(); // one that the successor does not have
      listener.release();
    }
    this.#keeper?.leave();
    for (const { done } of this.#upgrades) done({ pid: successor.pid! });
    uncaught(() => this.emit('handover', { pid: successor.pid! }));
    await this.#letGo((signal) => this.#carryAll(successor, live, signal));
    await successor.deliver({ type: 'bye' }, [], this.#settings.stepTimeout).catch(() => {});
    this.#succession?.end();
    successor.end();
    this.#endPast();
    this.#state = 'drained';
    trace('takeover: process %d has drained', process.pid);
    uncaught(() => this.emit('drained'));
    if (this.#closesListeners) this.#closeListeners();
  }

  #estate() {
    return {
      inventory: () => {
        const transferable = [...this.#listeners.values()].filter((listener) => listener.transferable);
        const listeners = transferable.map(({ name, endpoint }) => ({ name, endpoint }));
        const sockets: OwnedFd[] = [];
        try {
          for (const listener of transferable) sockets.push(listener.duplicate());
        } catch (error) {
          OwnedFd.closeAll(sockets);
          throw error;
        }
        return { listeners, sockets };
      },
      pause: () => {
        this.#state = 'handing-over';
        for (const listener of this.#listeners.values()) listener.pause();
      },
      resume: () => {
        this.#state = 'serving';
        for (const listener of this.#listeners.values()) {
          listener.resume();
          this.#keeper?.renew(listener).catch((error: Error) => trace('takeover: %s', error.message));
        }
        this.#control?.reopen();
      },
      releaseControl: () => {
        this.#control!.release();
        return this.#control!.duplicate();
      },
    };
  }

  /** Moves live connections, each when it can move. */
  async #carryAll(successor: WithSuccessor, live: readonly LiveTaken[], signal: AbortSignal): Promise<void> {
    const carrying = live.flatMap(({ name, kinds }) => {
      const listener = this.#listeners.get(name);
      return listener === undefined ? [] : [this.#carryFrom(listener, kinds, successor, signal)];
    });
    await Promise.all(carrying);
  }

  /**
   * Once the time is over a successor that is stopped may have it: this process ends, and it finds it when it wakes.
   */
  #carryFrom(
    listener: Listener,
    kinds: LiveTaken['kinds'],
    successor: WithSuccessor,
    signal: AbortSignal,
  ): Promise<void> {
    const { name } = listener;
    const gone = new AbortController();
    successor.channel.once('close', () => gone.abort()); // nobody takes what is left
    const over = aborted(signal);
    return carryOver(listener, AbortSignal.any([signal, gone.signal]), this.#alone, {
      most: AT_ONCE,
      kinds,
      send: (batch) => {
        const connections = batch.map(({ key, kind, state }) => ({ key, kind, state }));
        const fds = batch.map(({ fd }) => fd);
        return Promise.race([successor.carry({ type: 'live', name, connections }, fds), over]);
      },
      release: (batch) => {
        for (const { key, late } of batch)
          if (late.length > 0)
            for (const { late: bytes } of partsOf(late)) successor.say({ type: 'late', name, key, bytes });
        successor.say({ type: 'yours', name, keys: batch.map(({ key }) => key) });
      },
    });
  }

  #tookBack(successor: WithSuccessor, error: Error): void {
    this.#successor = undefined;
    this.#past.add(successor);
    successor.whenEnded(() => this.#past.delete(successor));
    if (this.#listeners.size === 0) this.#endPast();
    trace('takeover: process %d serves again: %s', process.pid, error.message);
    this.#manager.tellReady();
    for (const { failed } of this.#upgrades) failed(error);
    uncaught(() => this.emit('rollback', error));
  }

  #endPast(): void {
    for (const successor of this.#past) successor.end();
  }

  // ---- both

  /** Asks all clients to leave, and resolves when they have gone. After `drainTimeout` their connections are cut. */
  async #letGo(carry?: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const listeners = [...this.#listeners.values(), ...this.#closing];
    const overdue = new AbortController();
    const timer = setTimeout(() => overdue.abort(), this.#settings.drainTimeout);
    overdue.signal.addEventListener('abort', () => listeners.forEach((listener) => listener.cut()));
    const carried = carry?.(overdue.signal); // first: connections that move are not asked to leave
    for (const listener of listeners) listener.drain();
    await carried;
    if (carry !== undefined) await Promise.race([this.#alone, aborted(overdue.signal)]);
    await Promise.all(listeners.map((listener) => listener.whenGone()));
    clearTimeout(timer);
  }

  #closeListeners(): void {
    for (const listener of this.#listeners.values()) attempt(() => listener.close());
  }

  /** @internal The program has closed it by itself. When that was the last, nobody can take over from here. */
  closed(name: string): void {
    this.#listeners.delete(name);
    this.#keeper?.drop(name);
    setImmediate(() => this.#stopIfIdle()); // its 'close' may listen again
  }

  #stopIfIdle(): void {
    if (this.#listeners.size > 0 || !['serving', 'probation', 'handing-over'].includes(this.#state)) return;
    this.#control?.close();
    this.#control = undefined;
    if (this.#state === 'probation') {
      this.#state = 'rolledback'; // the old one serves on
      this.#dropInherited();
      this.#keeper?.leave();
    }
    this.#succession?.end();
    this.#successor?.end();
    this.#endPast();
    if (this.#keeper === undefined) serviceManager.tellStopping();
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}
