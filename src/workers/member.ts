import type { ChildProcess } from 'node:child_process';
import { FdChannel } from '../channel/channel.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import type { TcpAddress } from '../endpoint/tcp-address.js';
import { VARIABLE, type FromWorker, type ToWorker } from './messages.js';
import type { Settings } from './options.js';

/** A connection that the supervisor owns until a worker has confirmed it. */
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
  /** It has ended, and the connections that it had not confirmed are back. */
  gone(exit: Exit): void;
}

/** Milliseconds without a confirmation after which a worker gets no more connections. */
const MOMENT = 100;
/** How many connections may wait for the worker's confirmation. */
const WINDOW = 64;

/** The kernel's errors for a descriptor that it does not send. */
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
  /** Runs while the supervisor waits for a message of the worker. */
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

  /** How busy it is: what it said, or else its open connections, plus the connections on their way to it. */
  get load(): number {
    return (this.#busy ?? this.#confirmed - this.#ended) + this.#unconfirmed;
  }

  /** Whether it takes connections now. */
  get isAble(): boolean {
    return this.#state === 'ready' && !this.#isSilent && this.#unconfirmed < WINDOW;
  }

  /**
   * Hands a connection over. Resolves with whether the worker has taken it; if not, the worker has ended, and the
   * connection is back. Rejects when the system refuses to send it at all.
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

  /** It gets no more connections, and ends when those that it has have ended. */
  retire(): void {
    if (this.#state === 'gone' || this.#state === 'retiring') return;
    this.#state = 'retiring';
    this.#channel.send({ what: 'retire' }).catch(() => {}); // the worker has gone
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
      // An error of the channel ends the worker, below.
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

  /** From now on the supervisor waits for a message of the worker. */
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

  /** The supervisor waits for nothing. */
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
