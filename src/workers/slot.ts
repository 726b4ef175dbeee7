import { workerFailed, workerLate } from '../errors.js';
import { Member, type Exit, type Heir, type MemberEvents } from './member.js';
import type { Moved } from './messages.js';
import type { Settings } from './options.js';

/** What a slot tells its supervisor. */
export interface SlotEvents extends Omit<MemberEvents, 'ready' | 'gone'> {
  /** Nobody serves here who could go on with a live connection. */
  orphaned(moved: Moved): void;
  started(member: Member): void;
  ready(member: Member): void;
  gone(member: Member, exit: Exit): void;
  failed(error: Error): void;
}

/** Milliseconds before a worker that ended at once is started again. The wait doubles each time. */
const FIRST_WAIT = 100;
/** A worker that was ready for this many milliseconds did not end at once. */
const LONG_LIFE = 5000;

const UNKNOWN: Exit = { code: null, signal: null };

/** The place of one worker: has one that serves, and during a reload the one that is to follow. */
export class Slot {
  readonly number: number;
  readonly #settings: Settings;
  readonly #events: SlotEvents;
  /** The worker that serves. */
  #current: Member | undefined;
  /** The worker that starts, and a promise that settles when it is ready or has failed. */
  #next: { member: Member; resolve: () => void; reject: (error: Error) => void; over: Promise<void> } | undefined;
  #readySince = 0;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #removed = false;

  constructor(number: number, settings: Settings, events: SlotEvents) {
    this.number = number;
    this.#settings = settings;
    this.#events = events;
    this.#begin();
  }

  get members(): Member[] {
    return [this.#current, this.#next?.member].filter((member) => member !== undefined);
  }

  get current(): Member | undefined {
    return this.#current;
  }

  /**
   * Starts a successor, which takes the place when it is ready. When it fails this rejects, and the old worker serves
   * on. Resolves when the slot is removed meanwhile. Rejects when no process could be started.
   */
  async replace(): Promise<void> {
    await this.#next?.over.catch(() => {}); // of a worker that is already starting
    if (this.#removed) return;
    const started = this.#start();
    clearTimeout(this.#timer);
    await started.catch((error: Error) => {
      if (!this.#removed) throw error;
    });
  }

  /** Resolves when somebody serves here, or nobody is to any more. Rejects when the one who is to has ended. */
  async whenReady(): Promise<void> {
    if (this.#current !== undefined) return;
    const ready = this.#next?.over ?? Promise.reject(workerFailed(this.number, UNKNOWN));
    await ready.catch((error: Error) => {
      if (!this.#removed) throw error;
    });
  }

  /** Has who serves here go on with a live connection. */
  async adopt(moved: Moved): Promise<void> {
    let isBack = true;
    while (isBack && this.#current?.state === 'ready') isBack = await this.#current.adopt(moved);
    if (isBack) this.#events.orphaned(moved);
  }

  /** Its workers end. */
  remove(heir?: Heir): void {
    this.#removed = true;
    clearTimeout(this.#timer);
    this.#next?.member.kill();
    this.#current?.retire(heir);
  }

  #begin(): void {
    try {
      this.#start().catch(() => {}); // #lose handles it
    } catch (error) {
      this.#events.failed(error as Error); // for example, no room for a pair
      this.#beginLater(UNKNOWN);
    }
  }

  /** Resolves when it is ready. Throws when no process could be started. */
  #start(): Promise<void> {
    const member = new Member(this.number, this.#settings, this.#current, {
      ...this.#events,
      ready: () => this.#succeed(member),
      gone: (exit) => this.#lose(member, exit),
    });
    let settle!: { resolve: () => void; reject: (error: Error) => void };
    const over = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
    this.#next = { member, ...settle, over };
    this.#events.started(member);
    return over;
  }

  #succeed(member: Member): void {
    const { resolve } = this.#next!;
    const before = this.#current;
    this.#next = undefined;
    this.#current = member;
    this.#readySince = performance.now();
    before?.retire({ live: member.listeners ?? true, take: (moved) => void this.adopt(moved) });
    this.#events.ready(member);
    resolve();
  }

  #lose(member: Member, exit: Exit): void {
    this.#events.gone(member, exit);
    if (this.#next?.member === member) {
      const { reject } = this.#next;
      this.#next = undefined;
      const { patience, register } = this.#settings;
      const error = member.wasLate ? workerLate(this.number, patience, register) : workerFailed(this.number, exit);
      if (member.wasLate && this.#current === undefined) this.#events.failed(error);
      reject(error);
    } else if (this.#current === member) {
      this.#current = undefined;
      if (performance.now() - this.#readySince > LONG_LIFE) this.#failures = 0;
    } else return; // it was replaced
    this.#beginLater(exit);
  }

  /** If no worker serves here, and none is starting, one is started, after a longer wait each time. */
  #beginLater(exit: Exit): void {
    if (this.#removed || this.#current !== undefined || this.#next !== undefined) return;
    const wait = this.#failures === 0 ? 0 : Math.min(FIRST_WAIT * 2 ** (this.#failures - 1), this.#settings.backoff);
    this.#failures++;
    const what = `ends again and again, and is started anew in ${wait} ms`;
    if (wait > 0) this.#events.failed(workerFailed(this.number, exit, what));
    this.#timer = setTimeout(() => this.#begin(), wait);
  }
}
