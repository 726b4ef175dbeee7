import { once } from 'node:events';
import type { Serving } from '../takeover/serving.js';
import { takeover } from '../takeover/takeover.js';
import { endClaimOfExec } from '../takeover/environment.js';
import type { Bound, Place } from './bind.js';
import type { Intake } from './intake.js';
import type { Heir } from './member.js';
import type { Moved } from './messages.js';
import type { Settings } from './options.js';
import { SharedListener, type Heirs } from './shared-listener.js';

/** The supervisor of whose takeover it is. */
export interface Estate {
  /** Resolves when all workers are ready, and rejects when one is not to be. */
  whenReady(): Promise<void>;
  /** Ends the workers, whose live connections are the heir's. Resolves when they have ended. */
  leave(heir: Heir): Promise<void>;
  /** Ends them now. */
  cut(): void;
  /** A worker of the old supervisor, that of this slot, had this. */
  adopt(slot: number, moved: Moved): void;
  /** Another process serves for good. */
  replaced(): void;
  /** This process does not serve. */
  failed(error: Error): void;
}

/** READY is said so long after the last `listen()`, unless all that is inherited was asked for before. Milliseconds. */
const SETTLE = 1000;

/** A supervisor's part in takeovers: it replaces another one, and is replaced, workers included. */
export class Succession implements Heirs {
  readonly #estate: Estate;
  readonly #serving: Promise<Serving>;
  readonly #listeners = new Map<Intake, SharedListener>();
  #nameless = 0;
  #timer: NodeJS.Timeout | undefined;
  #begins = false;
  #closed = false;
  #left: Promise<void> | undefined;

  constructor({ path, ofExec = false, ...options }: NonNullable<Settings['takeover']>, estate: Estate) {
    this.#estate = estate;
    this.#serving = takeover(path, options);
    this.#serving.then(
      (serving) => {
        serving.on('handover', () => {
          if (ofExec) endClaimOfExec();
          estate.replaced();
        });
        serving.on('rolledback', (error) => estate.failed(error));
        if (serving.predecessor !== undefined) void this.#whenReady(serving); // its program may never listen
      },
      () => {}, // each listen() says it
    );
  }

  /** Has what the old supervisor listens on there, or binds it. It accepts when this process serves. */
  async open(place: Place, begin: (server: Bound) => Intake): Promise<Intake> {
    const serving = await this.#serving;
    if (serving.state === 'ready') await Promise.race([once(serving, 'serving'), once(serving, 'rolledback')]);
    const listener = new SharedListener(place, `supervisor:${this.#nameless++}`, begin, this);
    await serving.enlist(listener);
    this.#listeners.set(listener.intake, listener);
    if (serving.state === 'initializing' && !this.#begins && !this.#closed) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => void this.#begin(serving), serving.wantsMore() ? SETTLE : 0);
    }
    return listener.intake;
  }

  /** The supervisor does not listen there any more. */
  closed(intake: Intake): void {
    const listener = this.#listeners.get(intake);
    this.#listeners.delete(intake);
    if (listener !== undefined) void this.#serving.then((serving) => serving.closed(listener.name));
  }

  /** The supervisor closes. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    void this.#serving.then(
      async (serving) => {
        if (['initializing', 'ready'].includes(serving.state)) await serving.abort();
        for (const intake of this.#listeners.keys()) this.closed(intake);
      },
      () => {}, // each listen() says it
    );
  }

  adopt(slot: number, moved: Moved): void {
    this.#estate.adopt(slot, moved);
  }

  /** A successor has everything, or the old supervisor serves again: the workers end. */
  leave(): Promise<void> {
    this.#left ??= this.#leave();
    return this.#left;
  }

  #leave(): Promise<void> {
    const all = [...this.#listeners.values()];
    const moving = all.filter(({ moves }) => moves);
    return this.#estate.leave({
      live: moving.length === all.length ? true : moving.map(({ intake }) => intake.name),
      take: (moved, slot) => {
        const to = moving.find(({ moves, intake }) => moves && intake.name === moved.listener) ?? moving[0];
        if (to?.moves === true) to.offer(slot, moved);
        else moved.fd.close();
      },
    });
  }

  cut(): void {
    this.#estate.cut();
  }

  /** Says READY when the workers are, where others serve until then. */
  async #begin(serving: Serving): Promise<void> {
    this.#begins = true;
    if (serving.predecessor !== undefined && !(await this.#whenReady(serving))) return;
    serving.ready().catch(() => {}); // 'rolledback' tells
  }

  /** Resolves with whether all workers have got ready. Gives the takeover up when one has not. */
  async #whenReady(serving: Serving): Promise<boolean> {
    try {
      await this.#estate.whenReady();
      return true;
    } catch (error) {
      await serving.abort(error as Error).catch(() => {}); // it has ended otherwise
      return false;
    }
  }
}
