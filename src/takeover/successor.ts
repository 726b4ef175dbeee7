import { afterReading } from '../common/timers.js';
import { OwnedFd } from '../descriptor/owned-fd.js';
import { takenBack, takeoverBusy, takeoverProtocol } from '../errors.js';
import { dial, isServed, type WithPredecessor } from './control.js';
import type { Inherited } from './listeners/listener.js';
import { VERSION, type FromPredecessor } from './messages.js';
import type { Settings } from './options.js';
import { trace } from './trace.js';

type Manifest = Extract<FromPredecessor, { type: 'manifest' }>;
export type Live = Extract<FromPredecessor, { type: 'live' }>;
type Late = Extract<FromPredecessor, { type: 'late' }>;
type Yours = Extract<FromPredecessor, { type: 'yours' }>;

/** Milliseconds from one dialling to the next, while a process is going or coming. */
const PAUSE = 20;

/** Dials until a process hands over, or there is none. Rejects with the reason why none hands over to this process. */
export async function meet(path: string, settings: Settings): Promise<Succession | undefined> {
  const deadline = performance.now() + settings.stepTimeout;
  for (;;) {
    const predecessor = await dial(path, settings);
    if (predecessor === undefined) return undefined;
    try {
      return await greet(path, predecessor, settings);
    } catch (error) {
      predecessor.end();
      // An end before MANIFEST: that process has just gone, or has handed over to another.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_FDPASSER_GONE' || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
}

async function greet(path: string, predecessor: WithPredecessor, settings: Settings): Promise<Succession> {
  const { patience, stepTimeout } = settings;
  predecessor.say({ type: 'hello', version: VERSION, pid: process.pid });
  const patient = impatient(predecessor, patience);
  try {
    const { message, fds } = await predecessor.hear('MANIFEST', patience === undefined ? stepTimeout : Infinity);
    if (message.type === 'manifest' && fds.length === message.listeners.length)
      return new Succession(path, predecessor, message, fds, settings);
    OwnedFd.closeAll(fds);
    if (message.type === 'busy') throw takeoverBusy(path, message.pid ?? undefined);
    if (message.type === 'rollback') throw takenBack('MANIFEST', predecessor.pid, message.reason);
    const why = message.type === 'refused' ? message.reason : `it said ${message.type.toUpperCase()}`;
    throw takeoverProtocol('MANIFEST', predecessor.pid, why);
  } finally {
    patient.stop();
  }
}

/** Kills the other process after `patience` milliseconds, unless `stop` is called before. */
function impatient(predecessor: WithPredecessor, patience: number | undefined): { stop(): void } {
  if (patience === undefined) return { stop() {} };
  const timer = setTimeout(() => afterReading(() => kill(predecessor)), patience);
  let stopped = false;
  function kill({ pid }: WithPredecessor): void {
    if (stopped || pid === undefined || pid <= 1 || pid === process.pid) return; // 0: in another pid namespace
    trace('takeover: process %d has not answered for %d ms and is killed', pid, patience);
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      process.emitWarning(error as Error);
    }
  }
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** What the new process does for each message of the old one. */
export interface Heir {
  /** The old one has given the control path to this process, and drains. */
  confirmed(control: OwnedFd): void;
  /** The old one takes the path back, if it is alive. */
  returnControl(): void;
  /** The old one has died, and nobody else serves. */
  orphaned(): void;
  /** The old one serves again: this process leaves. */
  rolledBack(error: Error): void;
  /** There are as many descriptors as connections. */
  live(message: Live, fds: OwnedFd[]): void;
  /** The old process wrote this to one of those. */
  late(message: Late): void;
  /** Some of those belong to this process. Resolves when they go on here. */
  yours(message: Yours): Promise<void>;
  /** The old one has nothing more to hand over, or has died while it drained. */
  over(): void;
}

/**
 * The part of the new process, from MANIFEST to BYE. Whatever the old one decides, and whatever happens to it, exactly
 * one of the two serves afterwards.
 */
export class Succession {
  readonly pid: number;
  readonly inherited: Map<string, Inherited>;
  readonly #path: string;
  readonly #predecessor: WithPredecessor;
  readonly #settings: Settings;
  #state: 'initializing' | 'ready' | 'serving' | 'confirming' | 'confirmed' | 'over' = 'initializing';
  #patience = { stop() {} };
  #commit: { resolve(): void; reject(error: Error): void } | undefined;
  #fate: Error | 'orphaned' | undefined;

  constructor(path: string, predecessor: WithPredecessor, manifest: Manifest, fds: OwnedFd[], settings: Settings) {
    this.#path = path;
    this.#predecessor = predecessor;
    this.#settings = settings;
    this.pid = predecessor.pid ?? manifest.pid;
    this.inherited = new Map(
      manifest.listeners.map(({ name, endpoint }, index) => [name, { socket: fds[index]!, endpoint }]),
    );
  }

  /** Begins to follow the messages of the old one. */
  follow(heir: Heir): void {
    void this.#follow(heir);
  }

  /** Sends READY. Resolves when this process is to serve. Rejects with `ERR_FDPASSER_ROLLED_BACK`. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#fate === 'orphaned') return resolve();
      if (this.#fate !== undefined) return reject(this.#fate);
      this.#commit = { resolve, reject };
      this.#state = 'ready';
      this.#predecessor.say({ type: 'ready' });
      this.#wait(0);
    });
  }

  /** This process serves. */
  serving(): void {
    const { probation } = this.#settings;
    if (this.#fate !== undefined) return;
    this.#state = 'serving';
    this.#predecessor.say({ type: 'serving', probation: probation === Infinity ? null : probation });
  }

  /** `live`: the listeners whose live connections this process takes, and the kinds of those. */
  confirm(live: readonly { readonly name: string; readonly liveKinds: readonly string[] }[]): void {
    if (this.#state !== 'serving') return;
    this.#state = 'confirming';
    this.#predecessor.say({
      type: 'confirm',
      live: live.map(({ name }) => name),
      kinds: live.map(({ liveKinds }) => [...liveKinds]),
    });
    this.#wait(0);
  }

  /** This process gives up: it must have stopped accepting. The old one serves again. */
  abort(error: Error): void {
    this.#predecessor.say({ type: 'abort', reason: error.message });
    this.#fate = error;
    this.#commit?.reject(error);
  }

  /** Ends the conversation at once. */
  end(): void {
    this.#state = 'over';
    this.#patience.stop();
    this.#predecessor.end();
  }

  async #follow(heir: Heir): Promise<void> {
    try {
      for (;;) {
        const { message, fds } = await this.#predecessor.hear(this.#due, Infinity);
        this.#patience.stop();
        if (message.type === 'live' && message.connections.length === fds.length) heir.live(message, fds);
        else if (message.type === 'confirmed' && fds.length === 1) this.#confirmed(heir, message.drainTimeout, fds[0]!);
        else {
          OwnedFd.closeAll(fds);
          if (message.type === 'yours') await heir.yours(message);
          else if (message.type === 'late') heir.late(message);
          else if (message.type === 'commit') this.#commit?.resolve();
          else if (message.type === 'rollback') return await this.#rolledBack(heir, message.reason);
          else if (message.type === 'bye') return this.#over(heir);
          else throw takeoverProtocol(this.#due, this.pid, `it said ${message.type.toUpperCase()}`);
        }
      }
    } catch (error) {
      this.#ended(heir, error as Error);
    }
  }

  get #due(): 'COMMIT' | 'CONFIRMED' | 'BYE' {
    if (this.#state === 'confirmed') return 'BYE';
    return this.#state === 'initializing' || this.#state === 'ready' ? 'COMMIT' : 'CONFIRMED';
  }

  /** Waits for the old one `grace` milliseconds, and then `patience` more. */
  #wait(grace: number): void {
    const { patience } = this.#settings;
    this.#patience.stop();
    this.#patience = impatient(this.#predecessor, patience === undefined ? undefined : patience + grace);
  }

  #confirmed(heir: Heir, drainTimeout: number, control: OwnedFd): void {
    this.#state = 'confirmed';
    heir.confirmed(control);
    this.#wait(drainTimeout);
  }

  /** The old one may have died after it sent ROLLBACK. Nobody else listens at the path, so that shows it. */
  async #rolledBack(heir: Heir, reason: string): Promise<void> {
    const error = takenBack(this.#due, this.pid, reason);
    heir.returnControl();
    if (await isServed(this.#path)) this.#leave(heir, error);
    else this.#orphaned(heir);
  }

  #leave(heir: Heir, error: Error): void {
    if (this.#state === 'over') return;
    this.#fate = error;
    this.#commit?.reject(error);
    heir.rolledBack(error);
  }

  #ended(heir: Heir, error: Error): void {
    trace('takeover: %s', error.message);
    if (this.#state === 'over') return;
    if (this.#state === 'confirmed') this.#over(heir);
    else if ((error as NodeJS.ErrnoException).code === 'ERR_FDPASSER_PROTOCOL') {
      this.abort(error); // the old one is alive, and will serve again
      heir.rolledBack(error);
    } else this.#orphaned(heir);
  }

  #orphaned(heir: Heir): void {
    if (this.#state === 'over') return;
    this.#fate = 'orphaned';
    this.end();
    heir.orphaned();
    this.#commit?.resolve();
  }

  #over(heir: Heir): void {
    this.end();
    heir.over();
  }
}
