import type { Server, Socket } from 'node:net';
import { FdChannel } from '../channel/channel.js';
import { checkInteger, checkOptions, invalidType, type Names } from '../common/arguments.js';
import { builtin } from '../common/lazy-modules.js';
import { closeIdle } from '../descriptor/node-internals.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { warnFull } from '../descriptor/shortage.js';
import { addressInUse, notAWorker, servesNothing } from '../errors.js';
import { Connected } from '../takeover/listeners/connected.js';
import { beforeClosing, closeAtAbort, endPromise, listenInPlace } from '../takeover/listeners/node-listening.js';
import { carryOver, partsOf } from '../takeover/live/carry-over.js';
import { onceGone } from '../takeover/live/gone.js';
import {
  VARIABLE,
  type FromWorker,
  type Listened,
  type Live,
  type NotListened,
  type ToWorker,
  type Yours,
} from './messages.js';
import { Passage } from './passage.js';
import { AnyPorts, sharedOf, type Shared } from './shared.js';

export interface ServeOptions {
  /**
   * Only connections of this listener, by its name: an address with its port, or a path. Default: all other listeners.
   */
  listener?: string | undefined;
  /**
   * Called when this worker retires, as soon as no connection is idle: within about 5 seconds. Until the promise that
   * it returns settles, the worker goes on taking connections that `pick` gives to its pid, and connections of HTTP do
   * not move to its successor.
   */
  retire?: (() => Promise<void>) | undefined;
}

const SERVE: Names<ServeOptions> = { listener: true, retire: true };

/** A server, and who is connected to it. */
interface Served {
  readonly server: Server;
  readonly connected: Connected;
  retire: ServeOptions['retire'];
}

/** Milliseconds for which idle connections may bring one more request, while a worker retires; then they are closed. */
const GRACE = 5000;
/** Milliseconds from one check for idle connections to the next, after that. */
const PAUSE = 100;

/**
 * Milliseconds for which the supervisor is not told that connections have ended, if it gives this worker no others:
 * each message would wake it.
 */
const SOON = 10;
/** Milliseconds from one word that there is no free slot to the next. */
const FULL = 100;

/** This process, as a worker of its supervisor. */
export class Worker {
  /** The number of its place: 0 and up. A worker that replaces it has the same. */
  readonly slot: number;
  readonly #channel: FdChannel<FromWorker | ToWorker>;
  /** Milliseconds. */
  readonly #retireTime: number;
  /** By the name of the listener; `undefined` for all others. */
  readonly #served = new Map<string | undefined, Served>();
  /** Listeners whose own server was closed: the server of all others gets nothing of theirs. */
  readonly #unserved = new Set<string>();
  /** Servers whose `close()` is noticed. */
  readonly #followed = new WeakSet<Server>();
  /** Live connections of another process that are not this one's yet. */
  readonly #arriving = new Map<number, Served>();
  /** The supervisor has gone. */
  readonly #gone = new AbortController();
  readonly #anyPorts = new AnyPorts();
  #open = 0;
  #ended = 0;
  /** How many of these the supervisor was told. */
  #told = 0;
  #telling = false;
  /** While this process has no slot for a connection. */
  #full: NodeJS.Timeout | undefined;
  #isReady = false;
  #state: 'serving' | 'retiring' | 'leaving' = 'serving';
  #idle: NodeJS.Timeout | undefined;
  /** Called when no connection is idle that was open when it began to retire. */
  #quiet = (): void => {};
  #whenDone = (): void => {};

  /** @internal */
  constructor(slot: number, channel: FdChannel<FromWorker | ToWorker>, retireTime: number) {
    this.slot = slot;
    this.#retireTime = retireTime;
    this.#channel = channel;
    channel.on('error', () => {}); // the supervisor has gone: #run ends
    channel.once('close', () => {
      this.#gone.abort();
      clearInterval(this.#full);
    });
    channel.on('exhausted', () => this.#isFull());
    channel.on('resumed', () => clearInterval(this.#full));
    void this.#run();
  }

  /**
   * Gives connections to a server of node:net, http, https or http2, as if it had accepted them. The server need not
   * listen. It gets none any more once the program has called its `close()`. Throws `ERR_INVALID_ARG_TYPE`.
   */
  serve(server: Server, options: ServeOptions = {}): this {
    const { listener, retire } = checkOptions(options, SERVE);
    if (typeof server?.getConnections !== 'function') throw invalidType('server', 'a server of node:net', server);
    if (listener !== undefined && typeof listener !== 'string')
      throw invalidType('options.listener', 'a string', listener);
    if (retire !== undefined && typeof retire !== 'function') throw invalidType('options.retire', 'a function', retire);
    this.#serve(server, listener, retire);
    this.#follow(server);
    if (this.#isReady) this.ready();
    return this;
  }

  /** Takes connections from now on. Throws `ERR_FDPASSER_WORKER` when no server was given to `serve`. */
  ready(): void {
    if (this.#served.size === 0) throw servesNothing();
    this.#isReady = true;
    this.#tellServed();
  }

  #tellServed(): void {
    const serves = this.#served.has(undefined) ? undefined : ([...this.#served.keys()] as string[]);
    this.#send({ what: 'ready', serves, except: [...this.#unserved], stays: this.#stays });
  }

  /** Says how busy this worker is, for `pick: 'busy'`: an integer >= 0, used instead of its open connections. */
  busy(load: number): void {
    this.#send({ what: 'busy', load: checkInteger('load', load, 0, Number.MAX_SAFE_INTEGER) });
  }

  /** @internal Calls back when it has retired, and its connections have ended. */
  whenDone(callback: () => void): void {
    this.#whenDone = callback;
  }

  /**
   * @internal `server.listen()` of a program that knows nothing of workers: the supervisor listens. Returns `false` for
   * what is this process's own.
   */
  listen(server: Server, args: readonly unknown[]): boolean {
    const shared = sharedOf(args);
    if (shared === undefined || server.listening) return false;
    const callback = args.at(-1);
    if (typeof callback === 'function') server.once('listening', callback as () => void);
    const { signal } = (args[0] ?? {}) as { signal?: AbortSignal };
    if (signal !== undefined) closeAtAbort(server, signal);
    void this.#listen(server, this.#anyPorts.add(shared));
    return true;
  }

  async #listen(server: Server, at: Shared): Promise<void> {
    const drop = (): void => this.#anyPorts.drop(at);
    const waits = listenInPlace(server, null, drop);
    const reply = await this.#ask(at);
    const listener = 'error' in reply ? undefined : reply.listener;
    const isTaken = listener !== undefined && this.#served.has(listener);
    if (listener !== undefined && (isTaken || !waits())) this.#unlisten(listener);
    if (!waits()) return;
    if ('error' in reply || isTaken) {
      endPromise(server);
      drop();
      server.emit('error', 'error' in reply ? errorOf(reply) : addressInUse(at));
      return;
    }
    listenInPlace(server, reply.address, () => {
      drop();
      if (listener === undefined) return;
      this.#served.delete(listener);
      this.#unlisten(listener);
    });
    if (listener !== undefined) this.#serve(server, listener);
    server.emit('listening');
  }

  /** Where the supervisor listens. A worker that retires takes no connections: its servers listen as if none came. */
  async #ask(at: Shared): Promise<Listened | NotListened | { listener?: undefined; address: Listened['address'] }> {
    try {
      if (this.#state === 'serving')
        return (await this.#channel.request({ what: 'listen', at })).value as unknown as Listened | NotListened;
    } catch {
      // the supervisor has gone
    }
    return { address: asked(at) };
  }

  #unlisten(listener: string): void {
    this.#send({ what: 'unlisten', listener });
  }

  #serve(server: Server, listener: string | undefined, retire?: ServeOptions['retire']): void {
    const served = [...this.#served.values()].find((each) => each.server === server) ?? servedOf(server);
    served.retire = retire ?? served.retire;
    if (listener !== undefined) this.#unserved.delete(listener);
    this.#served.set(listener, served);
  }

  /** A server that its program closes gets nothing more. */
  #follow(server: Server): void {
    if (this.#followed.has(server)) return;
    this.#followed.add(server);
    beforeClosing(server, () => this.#unserve(server));
  }

  #unserve(server: Server): void {
    for (const [listener, served] of this.#served) {
      if (served.server !== server) continue;
      this.#served.delete(listener);
      if (listener !== undefined) this.#unserved.add(listener);
    }
    if (this.#isReady) this.#tellServed();
  }

  async #run(): Promise<void> {
    try {
      for await (const { value, fds } of this.#channel) {
        const message = value as ToWorker;
        if (message.what === 'retire') void this.#retire(message.live, message.most);
        else if (message.what === 'live') this.#adopt(message, fds);
        else if (message.what === 'yours') this.#own(message);
        else {
          for (const fd of fds) this.#take(message.listener, fd);
          this.#tellEnded(); // before it gives more
        }
      }
    } catch {
      // The supervisor has died. The connections here are served to their end.
    }
    if (this.#state === 'serving') await this.#retire(false);
  }

  /** Whether it takes connections while it retires. */
  get #stays(): boolean {
    return [...this.#served.values()].some(({ retire }) => retire !== undefined);
  }

  #servedFor(listener: string | undefined): Served | undefined {
    if (listener !== undefined && this.#unserved.has(listener)) return undefined;
    return this.#served.get(listener) ?? this.#served.get(undefined);
  }

  #take(listener: string, fd: OwnedFd): void {
    const served = this.#servedFor(listener);
    if (served === undefined) return this.#giveBack(listener, fd);
    let socket: Socket | undefined;
    try {
      socket = fd.toConnection(served.server);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_FDPASSER_CLOSED') {
        this.#unserve(served.server);
        return this.#giveBack(listener, fd);
      }
      fd.close();
      process.emitWarning(error as Error);
    }
    this.#begun(socket);
  }

  #giveBack(listener: string, fd: OwnedFd): void {
    const sent = this.#channel.send({ what: 'back', listener }, [fd], { confirm: true });
    sent.catch(() => fd.close()); // the supervisor has gone
  }

  /** Whose connection it is stands in `#arriving` until it is this worker's. */
  #adopt({ key, listener, kind, state }: Live, [fd]: readonly OwnedFd[]): void {
    const served = this.#servedFor(listener);
    try {
      if (served === undefined) throw servesNothing(listener);
      served.connected.adoptLive(key, kind, fd!, state);
      this.#arriving.set(key, served);
    } catch (error) {
      fd?.close();
      process.emitWarning(error as Error);
    }
  }

  #own({ key, late, more }: Yours): void {
    const served = this.#arriving.get(key);
    if (served === undefined) return;
    const { server, connected } = served;
    let socket: Socket | undefined;
    const note = (connection: Socket): void => void (socket = connection);
    server.prependOnceListener('connection', note);
    try {
      connected.ownLive(key, Buffer.from(late, 'base64'), more);
    } catch (error) {
      process.emitWarning(error as Error);
    }
    server.removeListener('connection', note);
    if (more) return;
    this.#arriving.delete(key);
    this.#begun(socket);
  }

  /** A connection has begun here, unless it has ended at once. */
  #begun(socket: Socket | undefined): void {
    this.#open++;
    if (socket === undefined) this.#over();
    else onceGone(socket, () => this.#over());
  }

  #over(): void {
    this.#open--;
    this.#ended++;
    if (this.#open === 0) this.#quiet();
    this.#leaveIfDone();
    if (this.#telling) return;
    this.#telling = true;
    setTimeout(() => {
      this.#telling = false;
      this.#tellEnded();
    }, SOON);
  }

  /** A worker that tells late seems busier than the others, which are then given all that comes. */
  #tellEnded(): void {
    if (this.#told === this.#ended) return;
    this.#told = this.#ended;
    this.#send({ what: 'ended', count: this.#ended });
  }

  /** The supervisor waits, because this process has not got stuck. */
  #isFull(): void {
    warnFull('A connection of this worker', { least: 1, most: 1 });
    clearInterval(this.#full);
    const tell = (): void => this.#tell({ what: 'full' });
    this.#full = setInterval(tell, FULL).unref();
    tell();
  }

  #send(message: FromWorker): void {
    if (this.#state === 'serving') this.#tell(message);
  }

  /** With `confirm`, this process ends after the supervisor has taken it, which else may see the end first. */
  #tell(message: FromWorker, confirm = false): void {
    this.#channel.send(message, [], { confirm }).catch(() => {}); // the supervisor has gone
  }

  /**
   * Lets the process end when its connections have: those of these listeners move, where they can. Of the others each
   * answer is now the last, and says so: to close one that is idle would reset a request that its client sends in that
   * instant.
   */
  async #retire(live: string[] | boolean, most = Infinity): Promise<void> {
    this.#state = 'retiring';
    const passage = new Passage(most);
    const all = [...this.#served].filter(([, { server }], index, entries) => {
      return entries.findIndex(([, other]) => other.server === server) === index;
    });
    const moving = all.map(([listener, { connected }]) => {
      if (live !== true && !(live && listener !== undefined && live.includes(listener))) return Promise.resolve();
      return carryOver(connected, this.#gone.signal, Promise.resolve(), {
        most: 1,
        send: async (batch) => {
          const { key, kind, state, fd } = batch[0]!;
          await passage.enter();
          try {
            await this.#channel.send({ what: 'live', key, listener, kind, state }, [fd], { confirm: true });
          } catch (error) {
            passage.leave();
            throw error;
          }
        },
        release: (batch) => {
          const { key, late } = batch[0]!;
          for (const part of partsOf(late)) this.#tell({ what: 'yours', key, ...part }, true);
          passage.leave();
        },
      });
    });
    for (const [, { connected }] of all) connected.drain();
    this.#idle = setTimeout(() => this.#closeIdle(), GRACE);
    if (this.#stays) await this.#stay(all.map(([, served]) => served));
    await Promise.all(moving);
    this.#state = 'leaving';
    this.#leaveIfDone();
  }

  /**
   * Takes connections until these have settled, or the supervisor has gone. They begin when no connection of before is
   * idle: a client could send a request there that is for another worker.
   */
  async #stay(all: readonly Served[]): Promise<void> {
    const { signal } = this.#gone;
    const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    const quiet = new Promise<void>((resolve) => (this.#quiet = resolve));
    if (!signal.aborted && this.#open > 0) await Promise.race([gone, quiet]);
    const settled = all.map(async ({ retire }) => retire?.());
    for (const each of settled)
      each.catch((error: unknown) => process.emitWarning(error instanceof Error ? error : String(error)));
    if (!signal.aborted) await Promise.race([gone, Promise.allSettled(settled)]);
    await this.#channel.request({ what: 'leave' }).catch(() => {}); // the supervisor has gone
  }

  #closeIdle(): void {
    for (const { server } of this.#served.values()) closeIdle(server);
    this.#quiet();
    this.#idle = setTimeout(() => this.#closeIdle(), PAUSE);
  }

  async #end(): Promise<void> {
    await this.#channel.close().catch(() => {}); // the supervisor has gone
    setTimeout(() => process.exit(), this.#retireTime).unref(); // nobody kills it then
    this.#whenDone();
  }

  #leaveIfDone(): void {
    if (this.#state !== 'leaving' || this.#open > 0) return;
    clearTimeout(this.#idle);
    void this.#end();
  }
}

function servedOf(server: Server): Served {
  const live = {
    websocket: true,
    get http(): boolean {
      return served.retire === undefined;
    },
  };
  const served: Served = { server, connected: new Connected(server, live), retire: undefined };
  return served;
}

function errorOf({ error: { message, ...rest } }: NotListened): Error {
  return Object.assign(new Error(message), rest);
}

/** The address as it was asked for. */
function asked({ path, host = '::', port = 0 }: Shared): Listened['address'] {
  return path ?? { address: host, family: builtin.net.isIP(host) === 4 ? 'IPv4' : 'IPv6', port };
}

let own: Worker | undefined;

/** This process as a worker. Throws `ERR_FDPASSER_WORKER` when no supervisor has started it. */
export function worker(): Worker {
  if (own !== undefined) return own;
  const told = process.env[VARIABLE];
  if (told === undefined) throw notAWorker();
  const [slot, retireTime] = told.split(' ').map(Number);
  const channel = FdChannel.inherit<FromWorker | ToWorker>();
  delete process.env[VARIABLE]; // no child of this process is a worker
  own = new Worker(slot!, channel, retireTime!);
  return own;
}

/** Whether this process is a worker with this program. */
export function isWorkerOf(file: string): boolean {
  return (own !== undefined || process.env[VARIABLE] !== undefined) && process.argv[1] === file;
}
