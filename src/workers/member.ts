import type { ChildProcess } from 'node:child_process';
import { createRequire } from 'node:module';
import { FdChannel } from '../channel/channel.js';
import { afterReading } from '../common/timers.js';
import { attempt } from '../common/attempt.js';
import { builtin } from '../common/lazy-modules.js';
import { OwnedFd } from '../descriptor/owned-fd.js';
import { freeSlots } from '../descriptor/table.js';
import { NONE } from '../takeover/environment.js';
import { Arrivals, type Arrival } from '../takeover/live/arrivals.js';
import type { Json } from '../takeover/live/carried.js';
import { partsOf } from '../takeover/live/carry-over.js';
import { Held } from './held.js';
import { VARIABLE, type FromWorker, type Listened, type Live, type Moved, type NotListened } from './messages.js';
import type { ToWorker, Yours } from './messages.js';
import type { Settings } from './options.js';
import type { Shared } from './shared.js';

/** How a worker process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface MemberEvents {
  ready(): void;
  /** It can take connections again, or has taken some. */
  changed(): void;
  /** Its program has called `listen()`. Rejects when it cannot be. */
  listen(at: Shared): Promise<Listened>;
  /** Its program serves other listeners than before. */
  servesOthers(): void;
  /** It does not serve this listener, and gives a connection back. */
  back(listener: string, fd: OwnedFd): void;
  /** The system refuses to send it. */
  refused(connection: Held, error: Error): void;
  /** It has ended, and all that it had not confirmed is back. */
  gone(exit: Exit): void;
}

/** Who goes on with live connections of a worker that retires. */
export interface Heir {
  /** Of which listeners; true: of all. */
  readonly live: string[] | boolean;
  /** The connection is the heir's, from now on. */
  take(moved: Moved, slot: number): void;
}

/** Milliseconds after which a worker that confirms nothing counts as stuck. */
const MOMENT = 100;
/** Connections that may wait to be confirmed. */
const WINDOW = 64;
/** Milliseconds. A program is ready so long after its last `listen()`, or once it serves all that one before it did. */
const SETTLE = 1000;

/** The kernel's errors for a descriptor that it does not send. */
const REFUSALS = new Set(['EBADF', 'EINVAL', 'EPERM']);

const NOBODY: Heir = { live: false, take: ({ fd }) => fd.close() };

/** With so many free slots, live connections move as fast as with more. */
const ENOUGH = 64;

/** Workers of this process that retire. */
let retiring = 0;

/**
 * How many live connections the last of so many workers may have on their way through this process. Each has a slot
 * until the worker says that it is done with it, and that comes behind those which the worker sends before. So there
 * must be slots for all of them, whatever other workers may send; one at a time needs no other slot.
 */
function passage(workers: number): number {
  return Math.max(1, Math.floor(freeSlots(ENOUGH) / (2 * workers ** 2)));
}

/** One worker process, as its supervisor sees it. */
export class Member {
  readonly slot: number;
  /** The process has ended, and all that it has said was heard. */
  readonly exited: Promise<Exit>;
  #state: 'starting' | 'ready' | 'retiring' | 'gone' = 'starting';
  readonly #child: ChildProcess;
  readonly #channel: FdChannel<ToWorker | FromWorker>;
  readonly #settings: Settings;
  readonly #events: MemberEvents;
  /** The listeners whose connections it takes, and how many `listen()` of its program led there; undefined: all. */
  #listeners: Map<string, number> | undefined;
  /** Those whose connections it does not take, if it takes all others. */
  #except = new Set<string>();
  #missing: string[];
  /** It takes connections while it retires. */
  #stays = false;
  #unconfirmed = 0;
  #confirmed = 0;
  #ended = 0;
  #busy: number | undefined;
  /** The supervisor waits for a message of the worker. The timers run on when it does not: setting them takes long. */
  #owes = true;
  #moment: NodeJS.Timeout | undefined;
  readonly #patience: NodeJS.Timeout;
  #settle: NodeJS.Timeout | undefined;
  #isSilent = false;
  #wasLate = false;
  /** How often it has said what the supervisor waited for. */
  #words = 0;
  #heir = NOBODY;
  /** Live connections that it does not have any more. */
  readonly #departed = new Arrivals((arrival, late) => this.#moves(arrival, late));
  #adopted = 0;

  /** `before` is whom it is to follow. */
  constructor(slot: number, settings: Settings, before: Member | undefined, events: MemberEvents) {
    this.slot = slot;
    this.#settings = settings;
    this.#events = events;
    this.#listeners = settings.register ? new Map() : undefined;
    this.#missing = before?.listeners ?? [];
    const { child, channel } = FdChannel.spawn<ToWorker | FromWorker>(process.execPath, argumentsOf(settings), {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...NONE, ...settings.env, [VARIABLE]: `${slot} ${settings.retire}` },
      nonblocking: true,
    });
    this.#child = child;
    this.#channel = channel;
    const heard = this.#listen();
    this.exited = new Promise<Exit>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', () => resolve({ code: null, signal: null }));
    }).then((exit) => this.#hearOut(heard, exit));
    this.#patience = setTimeout(() => this.#late(), settings.patience);
    void this.exited.then((exit) => this.#end(exit));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get state(): 'starting' | 'ready' | 'retiring' | 'gone' {
    return this.#state;
  }

  /** How busy it is: what it said, or else its open connections, plus the connections on their way to it. */
  get load(): number {
    return (this.#busy ?? this.#confirmed - this.#ended) + this.#unconfirmed;
  }

  /** How many it can be given now. */
  get room(): number {
    return Math.max(0, WINDOW - this.#unconfirmed);
  }

  /** Whether it can be given one more. */
  get hasRoom(): boolean {
    return this.room > 0;
  }

  /** Whether it was killed because it was not ready in time. */
  get wasLate(): boolean {
    return this.#wasLate;
  }

  /** Whether it confirms nothing. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** Whether it takes connections of that listener. */
  serves(listener: string): boolean {
    return this.#state === 'ready' && this.#listens(listener);
  }

  /** Whether it takes them, or may do so when it is ready. */
  mayServe(listener: string): boolean {
    return this.#state === 'starting' || this.serves(listener);
  }

  /** Whether it takes one that was picked by its pid. */
  stillServes(listener: string): boolean {
    return this.serves(listener) || (this.#state === 'retiring' && this.#stays && this.#listens(listener));
  }

  #listens(listener: string): boolean {
    return this.#listeners?.has(listener) ?? !this.#except.has(listener);
  }

  /** Counts a connection that it is about to be given. */
  expect(): void {
    if (this.#unconfirmed++ === 0) this.#await();
  }

  /**
   * Hands over what it was told to expect, all of one listener. Resolves with what the worker has not taken: it has
   * ended then.
   */
  give(listener: string, hand: readonly Held[]): Promise<readonly Held[]> {
    const sent = this.#channel.send({ what: 'connections', listener }, hand, { keepOpen: true, confirm: true });
    return sent.then(
      () => this.#confirm(hand),
      (error: Error) => this.#refuse(listener, hand, error),
    );
  }

  #confirm(hand: readonly Held[]): readonly Held[] {
    Held.closeAll(hand);
    this.#confirmed += hand.length;
    this.#heard(hand.length);
    return [];
  }

  async #refuse(listener: string, hand: readonly Held[], error: Error): Promise<readonly Held[]> {
    if (!REFUSALS.has((error as NodeJS.ErrnoException).code ?? '')) {
      await this.#lost(hand.length);
      return hand;
    }
    if (hand.length > 1) return (await Promise.all(hand.map((each) => this.give(listener, [each])))).flat();
    this.#heard(1);
    this.#events.refused(hand[0]!, error);
    return [];
  }

  /** The same for a live connection. Resolves with whether the worker has ended before it took it. */
  async adopt({ listener, kind, state, fd, late }: Moved): Promise<boolean> {
    const key = ++this.#adopted;
    const parts: Yours[] = partsOf(late).map((part) => ({ what: 'yours', key, ...part }));
    this.expect();
    try {
      const sent = this.#channel.send({ what: 'live', key, listener, kind, state }, [fd], { keepOpen: true });
      const taken = parts.map((part) => this.#channel.send(part, [], { confirm: true }));
      await Promise.all([sent, ...taken]);
      this.#confirmed++;
    } catch (error) {
      if (!REFUSALS.has((error as NodeJS.ErrnoException).code ?? '')) {
        await this.#lost(1);
        return true;
      }
      process.emitWarning(error as Error);
    }
    fd.close();
    this.#heard(1);
    return false;
  }

  /** It gets nothing more, and ends when its connections have ended, or are the heir's. */
  retire(heir = NOBODY): void {
    if (this.#state === 'gone' || this.#state === 'retiring') return;
    this.#state = 'retiring';
    this.#heir = heir;
    this.#channel.send({ what: 'retire', live: heir.live, most: passage(++retiring) }).catch(() => {}); // it is gone
    const limit = setTimeout(() => this.kill(), this.#settings.retire);
    void this.exited.then(() => {
      retiring--;
      clearTimeout(limit);
    });
  }

  /** What it serves; undefined: whatever there is. */
  get listeners(): string[] | undefined {
    return this.#listeners && [...this.#listeners.keys()];
  }

  #count(listener: string, difference: 1 | -1): void {
    const count = (this.#listeners!.get(listener) ?? 0) + difference;
    if (count > 0) this.#listeners!.set(listener, count);
    else this.#listeners!.delete(listener);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Until it has ended it may yet take them. */
  async #lost(count: number): Promise<void> {
    this.kill();
    await this.exited;
    this.#unconfirmed -= count;
  }

  async #listen(): Promise<void> {
    try {
      for await (const message of this.#channel) {
        const said = message.value as FromWorker;
        if (said.what === 'listen') void this.#reply(said.at, (reply) => message.reply(reply as never));
        else if (said.what === 'leave') void this.#dismiss((reply) => message.reply(reply as never));
        else this.#hear(said, message.fds);
      }
    } catch {
      // An error of the channel ends the worker, below.
    }
    if (this.#state !== 'retiring') this.kill();
  }

  #hear(message: Exclude<FromWorker, { what: 'listen' | 'leave' }>, [fd]: readonly OwnedFd[]): void {
    switch (message.what) {
      case 'ready':
        this.#stays = message.stays === true;
        this.#except = new Set(message.except);
        if (!this.#settings.register)
          this.#listeners = message.serves && new Map(message.serves.map((each) => [each, 1]));
        if (this.#state === 'starting') this.#ready();
        else this.#events.servesOthers();
        break;
      case 'ended':
        this.#ended = message.count;
        break;
      case 'busy':
        this.#busy = message.load;
        break;
      case 'full':
        // It is given nothing more, and not killed: that would end the connections that fill it.
        this.#words++;
        this.#patience.refresh();
        break;
      case 'unlisten':
        this.#count(message.listener, -1);
        this.#events.servesOthers();
        break;
      case 'back':
        this.#confirmed--;
        if (fd !== undefined) this.#events.back(message.listener, fd);
        break;
      case 'live':
        if (fd !== undefined) this.#depart(message, fd);
        break;
      case 'yours':
        attempt(() => this.#departed.release(message.key, Buffer.from(message.late, 'base64'), message.more));
    }
    this.#events.changed();
  }

  async #reply(at: Shared, reply: (value: Listened | NotListened) => Promise<void>): Promise<void> {
    try {
      const listened = await this.#events.listen(at);
      this.#count(listened.listener, 1);
      await reply(listened);
      if (this.#state === 'retiring') this.#events.servesOthers(); // it takes no connections there
      this.#missing = this.#missing.filter((listener) => listener !== listened.listener);
      clearTimeout(this.#settle);
      if (this.#missing.length === 0) this.#ready();
      else if (this.#state === 'starting') this.#settle = setTimeout(() => this.#ready(), SETTLE);
      this.#events.changed();
    } catch (error) {
      const { message, code, errno, syscall, address, port } = error as NodeJS.ErrnoException & NotListened['error'];
      const told = { message, code, errno, syscall, address, port };
      await reply({ error: JSON.parse(JSON.stringify(told)) as NotListened['error'] }).catch(() => {}); // it is gone
    }
  }

  /** It gets no connection after the reply. */
  async #dismiss(reply: (value: null) => Promise<void>): Promise<void> {
    this.#stays = false;
    await reply(null).catch(() => {}); // it is gone
  }

  /** It is nobody's until the worker says that it is done with it, or has ended. */
  #depart({ key, listener, kind, state }: Live, fd: OwnedFd): void {
    try {
      this.#departed.add(key, { kind, fd, state: { listener: listener ?? null, state } });
    } catch {
      fd.close(); // a key of another one: no worker of this library
    }
  }

  #moves({ kind, fd, state }: Arrival, late: Buffer): void {
    const { listener, state: own } = state as { listener: string | null; state: Json };
    this.#heir.take({ listener: listener ?? undefined, kind, state: own, fd, late }, this.slot);
  }

  #ready(): void {
    if (this.#state !== 'starting') return;
    this.#state = 'ready';
    this.#rest();
    this.#events.ready();
  }

  /** It owes a word from now on. */
  #await(): void {
    this.#owes = true;
    this.#moment ??= setTimeout(() => this.#stall(), MOMENT);
    this.#moment.refresh();
    this.#patience.refresh();
  }

  #stall(): void {
    if (!this.#owes) return;
    this.#isSilent = true;
    this.#events.changed();
  }

  #late(): void {
    const words = this.#words;
    afterReading(() => {
      if (!this.#owes || words !== this.#words) return;
      this.#wasLate = this.#state === 'starting';
      this.kill();
    });
  }

  #heard(count: number): void {
    this.#words++;
    this.#unconfirmed -= count;
    this.#isSilent = false;
    if (this.#unconfirmed === 0) this.#rest();
    else {
      this.#moment!.refresh();
      this.#patience.refresh();
    }
    this.#events.changed();
  }

  /** The supervisor waits for nothing. */
  #rest(): void {
    this.#words++;
    this.#owes = false;
  }

  /** The process has ended. What it has said counts, unless its end of the channel is open in a process that lives. */
  async #hearOut(heard: Promise<void>, exit: Exit): Promise<Exit> {
    this.#state = 'gone';
    const limit = setTimeout(() => this.#channel.destroy(), this.#settings.patience);
    await heard;
    clearTimeout(limit);
    return exit;
  }

  #end(exit: Exit): void {
    this.#rest();
    for (const timer of [this.#moment, this.#patience, this.#settle]) clearTimeout(timer);
    this.#channel.destroy();
    this.#departed.releaseAll();
    this.#events.gone(exit);
  }
}

function argumentsOf({ file, args, register }: Settings): string[] {
  return [...nodeArguments(), ...(register ? ['--import', registerUrl()] : []), file, ...args];
}

/** Options of Node with a program of the command line, which would run again in the place of the worker. */
const PROGRAMS = ['-e', '--eval', '-p', '-pe', '--print', '--input-type'];

/** Those of this process without such a program. */
function nodeArguments(): string[] {
  return process.execArgv.filter((argument, index, all) => {
    const before = all[index - 1];
    const isOfProgram = before !== undefined && PROGRAMS.includes(before) && !argument.startsWith('-');
    return !isOfProgram && !PROGRAMS.includes(argument.replace(/=.*/s, ''));
  });
}

function registerUrl(): string {
  const path = createRequire(import.meta.url).resolve('fdpasser/workers/register');
  return builtin.url.pathToFileURL(path).href;
}
