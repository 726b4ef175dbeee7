import type { ChildProcess } from 'node:child_process';
import { FdChannel } from '../channel/channel.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import type { TcpAddress } from '../endpoint/tcp-address.js';
import { VARIABLE, type FromWorker, type ToWorker } from './messages.js';
import type { Settings } from './options.js';

/** A connection that is the supervisor's until a worker has confirmed it. */
export interface Held {
  readonly fd: OwnedFd;
  readonly listener: string;
  readonly remote: TcpAddress | undefined;
  readonly first: Buffer | undefined;
}

/** How a worker process ended. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface MemberEvents {
  ready(): void;
  /** It can take connections again, or has taken one. */
  changed(): void;
  /** It has ended, and all that it had not confirmed is back. */
  gone(exit: Exit): void;
}

/** Milliseconds after which a worker that confirms nothing gets nothing more. */
const MOMENT = 100;
/** Handovers that may wait to be confirmed. */
const WINDOW = 64;

/** What the kernel says of a descriptor that it does not send. */
const REFUSALS = new Set(['EBADF', 'EINVAL', 'EPERM']);

/** One worker process, as its supervisor sees it. */
export class Member {
  readonly slot: number;
  readonly exited: Promise<Exit>;
  #state: 'starting' | 'ready' | 'retiring' | 'gone' = 'starting';
  readonly #child: ChildProcess;
  readonly #channel: FdChannel<ToWorker | FromWorker>;
  readonly #settings: Settings;
  readonly #events: MemberEvents;
  #unconfirmed = 0;
  #confirmed = 0;
  #ended = 0;
  #busy: number | undefined;
  /** Runs while the worker owes a word. */
  #moment: NodeJS.Timeout | undefined;
  #patience: NodeJS.Timeout | undefined;
  #isSilent = false;

  constructor(slot: number, settings: Settings, events: MemberEvents) {
    this.slot = slot;
    this.#settings = settings;
    this.#events = events;
    const { child, channel } = FdChannel.spawn<ToWorker | FromWorker>(
      process.execPath,
      [...process.execArgv, settings.file, ...settings.args],
      {
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, ...settings.env, [VARIABLE]: String(slot) },
        nonblocking: true,
      },
    );
    this.#child = child;
    this.#channel = channel;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', () => resolve({ code: null, signal: null }));
    });
    this.#patience = setTimeout(() => this.kill(), settings.patience);
    void this.#listen();
    void this.exited.then((exit) => this.#end(exit));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get state(): 'starting' | 'ready' | 'retiring' | 'gone' {
    return this.#state;
  }

  /** How busy it is: by its own word, else its open connections; and what is on its way. */
  get load(): number {
    return (this.#busy ?? this.#confirmed - this.#ended) + this.#unconfirmed;
  }

  /** Whether it takes connections now. */
  get isAble(): boolean {
    return this.#state === 'ready' && !this.#isSilent && this.#unconfirmed < WINDOW;
  }

  /**
   * Hands it over. Resolves with whether the worker has taken it; if not, it has ended, and the connection is back.
   * Rejects when the system refuses to send it at all.
   */
  async give({ fd, listener, remote }: Held): Promise<boolean> {
    this.#unconfirmed++;
    if (this.#unconfirmed === 1) this.#await();
    try {
      await this.#channel.send({ what: 'connection', listener, remote }, [fd], { confirm: true });
    } catch (error) {
      if (REFUSALS.has((error as NodeJS.ErrnoException).code ?? '')) {
        this.#unconfirmed--;
        this.#heard();
        throw error;
      }
      this.kill();
      await this.exited; // until then it may yet have taken the connection
      this.#unconfirmed--;
      return false;
    }
    this.#unconfirmed--;
    this.#confirmed++;
    this.#heard();
    return true;
  }

  /** It gets nothing more, and ends when its connections have. */
  retire(): void {
    if (this.#state === 'gone' || this.#state === 'retiring') return;
    this.#state = 'retiring';
    this.#channel.send({ what: 'retire' }).catch(() => {}); // it is gone, then
    const limit = setTimeout(() => this.kill(), this.#settings.retire);
    void this.exited.then(() => clearTimeout(limit));
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #listen(): Promise<void> {
    try {
      for await (const { value } of this.#channel) this.#hear(value as FromWorker);
    } catch {
      // What broke the channel ends the worker, below.
    }
    if (this.#state !== 'retiring') this.kill();
  }

  #hear(message: FromWorker): void {
    switch (message.what) {
      case 'ready':
        if (this.#state !== 'starting') return;
        this.#state = 'ready';
        this.#rest();
        this.#events.ready();
        break;
      case 'ended':
        this.#ended = message.count;
        break;
      case 'busy':
        this.#busy = message.load;
        break;
    }
    this.#events.changed();
  }

  /** It owes a word from now on. */
  #await(): void {
    this.#moment = setTimeout(() => (this.#isSilent = true), MOMENT);
    this.#patience = setTimeout(() => this.kill(), this.#settings.patience);
  }

  #heard(): void {
    this.#isSilent = false;
    if (this.#unconfirmed === 0) this.#rest();
    else {
      this.#moment?.refresh();
      this.#patience?.refresh();
    }
    this.#events.changed();
  }

  /** It owes nothing. */
  #rest(): void {
    clearTimeout(this.#moment);
    clearTimeout(this.#patience);
  }

  #end(exit: Exit): void {
    this.#state = 'gone';
    this.#rest();
    this.#channel.destroy();
    this.#events.gone(exit);
  }
}
