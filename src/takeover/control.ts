import { lstatSync } from 'node:fs';
import { constants } from 'node:os';
import { FdChannel } from '../channel/channel.js';
import { attempt } from '../common/attempt.js';
import { builtin } from '../common/lazy-modules.js';
import { ownMade, ownReceived, type OwnedFd } from '../descriptor/owned-fd.js';
import { isAbstract } from '../endpoint/address.js';
import { connect } from '../endpoint/connect.js';
import { peerCredentials } from '../endpoint/credentials.js';
import { bindPath, Place } from '../endpoint/path.js';
import { listen } from '../endpoint/listen.js';
import { FdServer } from '../endpoint/server.js';
import { checked, systemError } from '../errors.js';
import { typeNumber } from '../native/kinds.js';
import { addon } from '../native/load.js';
import { LONGEST_DELAY } from '../common/timers.js';
import { Conversation } from './conversation.js';
import { listenAs } from './listeners/node-listening.js';
import { fromPredecessor, fromSuccessor, type FromPredecessor, type FromSuccessor } from './messages.js';
import type { Settings } from './options.js';
import { trace } from './trace.js';

export type WithSuccessor = Conversation<FromSuccessor, FromPredecessor>;
export type WithPredecessor = Conversation<FromPredecessor, FromSuccessor>;

/** Gets each conversation, and resolves when it knows what the other wants. */
type Greet = (conversation: WithSuccessor) => Promise<void>;

/** The longest message from one process to the other: it may name many listeners. */
const MOST_BYTES = 1 << 20;
const MOST_FDS = 4096;
/** How many connections are kept at a time that have not said what they want. Others wait in the backlog. */
const MOST_SILENT = 64;
const BACKLOG = 511;
/** Milliseconds that a process waits for a successor to listen, when it finds a path at which nobody listens. */
const SUCCESSION = 300;
const PAUSE = 20;

/**
 * Begins a conversation with the process that serves at the path. Resolves with `undefined` when none does. Rejects
 * with `EACCES` when `allow` refuses that process.
 */
export async function dial(path: string, { allow, stepTimeout }: Settings): Promise<WithPredecessor | undefined> {
  const socket = await reach(path, stepTimeout);
  if (socket === undefined) return undefined;
  try {
    const peer = peerCredentials(socket);
    const allowed = allow === undefined ? peer.uid === process.geteuid?.() : allow(peer);
    if (!allowed) {
      const advice = `Process ${peer.pid} of user ${peer.uid} serves there, and allow does not let it hand over`;
      throw systemError(-constants.errno.EACCES, 'connect', { path, advice });
    }
    const channel = new FdChannel(socket, {
      maxMessageBytes: MOST_BYTES,
      maxFds: MOST_FDS,
      helloTimeout: LONGEST_DELAY, // each step has a timer of its own
    });
    return new Conversation(channel, peer.pid, fromPredecessor);
  } catch (error) {
    socket.close();
    throw error;
  }
}

/**
 * Resolves with `undefined` when nobody listens there. Where somebody did, a successor may be about to take the path of
 * a process that has just died.
 */
async function reach(path: string, timeout: number): Promise<OwnedFd | undefined> {
  const deadline = performance.now() + SUCCESSION;
  for (;;) {
    try {
      return await connect(path, { timeout });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      if (code !== 'ECONNREFUSED') throw error;
      if (isAbstract(path) || performance.now() > deadline) return undefined;
      await builtin.timers.setTimeout(PAUSE);
    }
  }
}

/** Whether any process listens there. */
export async function isServed(path: string): Promise<boolean> {
  try {
    (await connect(path)).close();
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code !== 'ENOENT' && code !== 'ECONNREFUSED';
  }
}

/**
 * The control path of the process that serves. A process that dials it wants to take over. One process has it at a
 * time.
 */
export class Control {
  readonly path: string;
  readonly #server: FdServer;
  readonly #settings: Settings;
  readonly #place: Place | undefined;
  readonly #greet: Greet;
  #stopped = new AbortController();
  #silent = 0;
  #heard: (() => void) | undefined;

  private constructor(path: string, server: FdServer, place: Place | undefined, settings: Settings, greet: Greet) {
    this.path = path;
    this.#server = server;
    this.#place = place;
    this.#settings = settings;
    this.#greet = greet;
    void this.#accept();
  }

  /** Takes the path. Throws `EADDRINUSE` when another process has it. */
  static listen(path: string, settings: Settings, greet: Greet): Control {
    const { allow } = settings;
    const mode = allow === undefined ? 0o600 : 0o666;
    const options = allow === undefined ? {} : { allow };
    trace('takeover: control path %s is ours', path);
    if (isAbstract(path)) return new Control(path, listen(path, options), undefined, settings, greet);
    // Not with listen(): its server would remove the path even when a successor has it.
    const [fd, place] = bindPath(path, { type: typeNumber('stream'), mode, backlog: BACKLOG });
    return new Control(path, FdServer.from(ownMade(fd), options), place, settings, greet);
  }

  /** Takes over from a predecessor, with its listener. */
  static adopt(path: string, socket: OwnedFd, settings: Settings, greet: Greet): Control {
    noteListener(socket);
    const { allow } = settings;
    const server = FdServer.from(socket, allow === undefined ? {} : { allow });
    trace('takeover: control path %s is ours, inherited', path);
    return new Control(path, server, placeOf(path), settings, greet);
  }

  /** Another descriptor of its listener. */
  duplicate(): OwnedFd {
    return ownReceived(checked(addon.dup(this.#server.fd), 'fcntl'));
  }

  /** Accepts nobody any more: a successor has the path. */
  release(): void {
    this.#stopped.abort();
  }

  /** Accepts again: the successor does not serve after all. */
  reopen(): void {
    if (!this.#stopped.signal.aborted) return;
    this.#stopped = new AbortController();
    void this.#accept();
  }

  /** Closes the listener, and removes the path unless a successor has it. */
  close(): void {
    const released = this.#stopped.signal.aborted;
    this.#stopped.abort();
    if (!released) attempt(() => this.#place?.leave());
    attempt(() => this.#server.close());
  }

  async #accept(): Promise<void> {
    const { signal } = this.#stopped;
    try {
      while (!signal.aborted) {
        if (this.#silent < MOST_SILENT) void this.#converse(await this.#server.accept({ signal }));
        else await new Promise<void>((resolve) => (this.#heard = resolve));
      }
    } catch (error) {
      if (!signal.aborted) process.emitWarning(error as Error);
    }
  }

  async #converse(socket: OwnedFd): Promise<void> {
    this.#silent++;
    try {
      const { pid } = peerCredentials(socket);
      const channel = new FdChannel(socket, { maxFds: 1, helloTimeout: this.#settings.stepTimeout });
      await this.#greet(new Conversation(channel, pid, fromSuccessor));
    } catch (error) {
      trace('takeover: refused: %s', (error as Error).message);
      if (!socket.closed) socket.close();
    } finally {
      this.#silent--;
      this.#heard?.();
    }
  }
}

/** The kernel reports to those who connect which process called listen(2) last. From now on that is this process. */
function noteListener(socket: OwnedFd): void {
  const server = new builtin.net.Server();
  listenAs(server, { fd: socket.dup().take(), backlog: BACKLOG, exclusive: true });
  server.close();
}

function placeOf(path: string): Place | undefined {
  if (isAbstract(path)) return undefined;
  try {
    return new Place(path, lstatSync(path, { bigint: true }));
  } catch {
    return undefined; // it is not there, or this user may not look there, nor remove it
  }
}
