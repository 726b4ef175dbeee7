/**
 * `node --import fdpasser/takeover/register app.js`, with the control path in `FDPASSER_TAKEOVER`: takeover for a
 * program that knows nothing of it. It takes part from its first `listen()` or `bind()` of something that has a name.
 * No process that it starts takes part: such a one could take over from it. `fdpasser exec` cannot know which of the
 * processes that it starts will listen: there the first that does takes part, and no other while that one lives.
 */
import type { Socket as DatagramSocket } from 'node:dgram';
import { existsSync } from 'node:fs';
import type { Server } from 'node:net';
import { basename } from 'node:path';
import { builtin } from '../common/lazy-modules.js';
import { LONGEST_DELAY } from '../common/timers.js';
import { anchored } from '../endpoint/path.js';
import { addressInUse } from '../errors.js';
import { claims } from './claim.js';
import { endAsTold } from './end-as-told.js';
import { claimGiven, endClaimOfExec, keeperGiven, optionsGiven, TAKEN, VARIABLE } from './environment.js';
import { Keeper } from './keeper.js';
import { bindAs } from './listeners/datagram-listener.js';
import { endPromise, listenAs, onceClosed, promise, replaceListen, replaceMethod } from './listeners/node-listening.js';
import { nameOf, wantedOfDatagrams, wantedOfServer, type Place, type Wanted } from './listeners/wanted.js';
import type { Serving } from './serving.js';
import { takeover } from './takeover.js';

const claim = claimGiven();
/** READY is said so long after the last `listen()`, unless all that is inherited was asked for before. Milliseconds. */
const SETTLE = 1000;

/**
 * The keeper decides how long a successor may take, and how long this process can come back. Only its user reaches its
 * folder, in which the control path is. A process that serves may be of another user: it may have given up privileges.
 */
const KEPT = { probation: Infinity, initTimeout: LONGEST_DELAY, allow: () => true };

/** A server that was asked to listen. */
interface Asked {
  name: string;
  wanted: Wanted;
  server: Server | DatagramSocket;
  args: unknown[];
}

class Registration {
  readonly #path: string;
  readonly #asked: Asked[] = [];
  /** Whether this process takes part. It is not known before it listens, if another process may be the first. */
  #takesPart: boolean | undefined;
  #begun = false;
  #serving: Serving | undefined;
  #getsReady = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Returns `false` when this does not take part. */
  listen(wanted: Wanted, server: Server | DatagramSocket, args: readonly unknown[]): boolean {
    this.#serving?.endClosed();
    const name = nameOf(wanted);
    if (name === undefined) warnOfAnyPort(wanted, server);
    if (name === undefined || (server instanceof builtin.net.Server && server.listening) || isOfThisProcess(name))
      return false;
    const state = this.#serving?.state;
    if (state === 'draining' || state === 'drained' || state === 'leaving') return standIn(server, wanted, args);
    if (this.#serving?.has(name) || this.#asked.some((asked) => asked.name === name)) {
      const isBound = state !== undefined && state !== 'initializing' && state !== 'ready';
      if (isBound || isShared(server, args)) return false; // the system refuses it, or not
      process.nextTick(() => server.emit('error', addressInUse(wanted as Place)));
      return true;
    }
    if (state === 'rolledback') this.#forget();
    this.#takesPart ??= claim === undefined || claims(claim);
    if (!this.#takesPart) {
      process.emitWarning(`${name} will not be handed over: ${whyNot(claim!)}`);
      return false;
    }
    const callback = args.at(-1);
    if (typeof callback === 'function') server.once('listening', callback as () => void);
    const asked = { name, wanted, server, args: args.filter((value) => typeof value !== 'function') };
    if (server instanceof builtin.net.Server && isPlace(wanted)) this.#promise(asked, server, wanted);
    if (this.#serving === undefined || this.#serving.state === 'ready') {
      this.#asked.push(asked);
      this.#begin();
    } else this.#add(this.#serving, asked);
    return true;
  }

  /** Where Node's own `listen()` listens before it returns, the server can be asked for its address at once. */
  #promise(asked: Asked, server: Server, wanted: Place): void {
    if (wanted.kind !== 'unix' && wanted.host !== undefined) return;
    promise(server, wanted, () => {
      const index = this.#asked.indexOf(asked);
      if (index >= 0) this.#asked.splice(index, 1);
    });
    onceClosed(server, () => process.nextTick(() => this.#withdrawIfIdle())); // when all have heard of it
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#takeover().catch((error: Error) => this.#fail(error));
  }

  async #takeover(): Promise<void> {
    const keeperPath = keeperGiven();
    const keeper = keeperPath === undefined ? undefined : await Keeper.at(keeperPath);
    const options = keeper === undefined ? optionsGiven() : KEPT;
    this.#take(await takeover(this.#path, options), keeper);
  }

  #take(serving: Serving, keeper: Keeper | undefined): void {
    this.#serving = serving;
    serving.keepBy(keeper);
    serving.servesUnmodified(() => this.#withdrawIfIdle());
    serving.on('handover', endClaimOfExec);
    serving.on('drained', endAsTold);
    serving.on('rolledback', (error) => {
      process.stderr.write(`${error.message}\n`);
      process.exit(1);
    });
    serving.on('serving', () => {
      this.#getsReady = false;
      this.#addAll(serving);
    });
    this.#addAll(serving);
  }

  #addAll(serving: Serving): void {
    for (const asked of this.#asked.splice(0)) this.#add(serving, asked);
    this.#withdrawIfIdle();
  }

  /** Every server was closed before it served: this process takes no part, unless it listens again. */
  #withdrawIfIdle(): void {
    const serving = this.#serving;
    if (serving?.isIdle !== true) return;
    this.#forget();
    serving.removeAllListeners('rolledback');
    serving.abort(new Error('its servers were closed before they served')).catch(() => {});
  }

  #forget(): void {
    clearTimeout(this.#timer);
    this.#getsReady = false;
    this.#serving = undefined;
    this.#begun = false;
  }

  #add(serving: Serving, { name, wanted, server, args }: Asked): void {
    try {
      serving.add(name, server, args, wanted);
    } catch (error) {
      fail(server, error as Error);
      return;
    }
    if (serving.state !== 'initializing' || this.#getsReady) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ready(serving), serving.wantsMore() ? SETTLE : 0);
  }

  #ready(serving: Serving): void {
    this.#getsReady = true;
    serving.ready().catch(() => {}); // 'rolledback' reports it
  }

  #fail(error: Error): void {
    for (const { server } of this.#asked.splice(0)) fail(server, error);
  }
}

/** Why this process does not have the claim. */
function whyNot(claim: string): string {
  if (existsSync(claim)) return `another process of this program takes part, by ${claim}`;
  return `${claim} cannot be reached: exec is of another user, or has ended`;
}

/** Whether several sockets may have one address, and the system decides. */
function isShared(server: Server | DatagramSocket, [options]: readonly unknown[]): boolean {
  const { reusePort } = (options ?? {}) as { reusePort?: unknown };
  return !(server instanceof builtin.net.Server) || reusePort === true;
}

/**
 * The other process serves: this server only counts as listening, and a datagram socket gets another port. Returns
 * `false` for what has no address.
 */
function standIn(server: Server | DatagramSocket, wanted: Wanted, args: readonly unknown[]): boolean {
  if (!isPlace(wanted)) return false;
  const callback = args.at(-1);
  if (!(server instanceof builtin.net.Server)) {
    bindAs(server, { port: 0, ...(wanted.kind === 'udp' && { address: wanted.host }) }, callback);
    return true;
  }
  if (typeof callback === 'function') server.once('listening', callback as () => void);
  promise(server, wanted, () => {});
  process.nextTick(() => server.listening && server.emit('listening'));
  return true;
}

function isPlace(wanted: Wanted): wanted is Place {
  return wanted.kind !== 'nameless';
}

/** It does not listen. */
function fail(server: Server | DatagramSocket, error: Error): void {
  if (server instanceof builtin.net.Server) endPromise(server);
  server.emit('error', error);
}

let warned = false;

/** Clients would look for it: those of a datagram socket do not. */
function warnOfAnyPort(wanted: Wanted, server: Server | DatagramSocket): void {
  if (warned || claim === undefined || wanted.kind !== 'nameless' || !wanted.anyPort) return;
  if (!(server instanceof builtin.net.Server)) return;
  warned = true;
  process.emitWarning('A server listens at any free port: this process alone has it, and it will not be handed over');
}

/** Whether this is a path whose file name has this pid in it. tsx listens at such a path. No successor asks for it. */
function isOfThisProcess(name: string): boolean {
  const words = basename(name).split(/[^\dA-Za-z]+/);
  return name.startsWith('unix:') && words.includes(`${process.pid}`);
}

function isV6(socket: DatagramSocket): boolean {
  return (socket as unknown as { type: string }).type === 'udp6';
}

/** The control path, if this process is to take part; it is this process's alone from now on. */
function takePath(): string | undefined {
  const { [VARIABLE]: path, [TAKEN]: taken } = process.env;
  if (!builtin.workerThreads.isMainThread) return undefined;
  if (builtin.cluster.isWorker) return path ?? taken; // its listen() fails
  if (claim !== undefined) return path;
  for (const name of [VARIABLE, TAKEN]) Reflect.deleteProperty(process.env, name);
  if (path === undefined || path === '') return undefined;
  process.env[TAKEN] = path;
  return anchored(path);
}

const path = takePath();
if (path !== undefined) {
  const registration = new Registration(path);
  replaceListen(function (...args) {
    if (!registration.listen(wantedOfServer(args), this, args)) listenAs(this, ...args);
    return this;
  });
  const bind = function (this: DatagramSocket, ...args: unknown[]): DatagramSocket {
    if (!registration.listen(wantedOfDatagrams(args, isV6(this)), this, args)) bindAs(this, ...args);
    return this;
  };
  replaceMethod(builtin.dgram.Socket.prototype, 'bind', bind);
}
