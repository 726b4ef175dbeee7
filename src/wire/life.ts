import type { EventEmitter } from 'node:events';
import { abortable, type Abortable } from '../common/abort.js';
import { attempt } from '../common/attempt.js';
import { invalidType } from '../common/arguments.js';
import { closed } from '../errors.js';
import { Queue, Queued } from '../common/queue.js';

/** Events that passers and channels have in common. */
export interface LifeEvents {
  /** It broke. Emitted only if someone listens. */
  error: [NodeJS.ErrnoException];
  /** It is closed, for whatever reason, and its descriptors with it. */
  close: [];
  /** This process has no free descriptor slot for what the peer sent. It waits in the kernel. */
  exhausted: [];
  /** There was room again. */
  resumed: [];
}

/** How many of what is at hand are handed out one by one in one turn of the event loop. */
const MOST_IN_TURN = 64;

/** Whatever has these events, and maybe others. */
type Emitter = Pick<EventEmitter<LifeEvents>, 'emit' | 'listenerCount'>;

export type OnError = (error: NodeJS.ErrnoException | undefined) => void;

/** What a life ends, and asks. */
export interface Alive<T> {
  /** `'passer'` or `'channel'`, for messages. */
  readonly what: string;
  /** Whether something is still to be sent before it may close. */
  owes(): boolean;
  /** How many are asked for, less those at hand, has changed. */
  asked(): void;
  /** `close` is called: it must not wait for what can never come. */
  closing(): void;
  /** Somebody gets this one. */
  taken?(item: T): void;
  /** Nobody will. */
  discard(item: T): void;
  /** Nothing more will be sent: gives back or closes what is queued. */
  dropUnsent(error: Error): void;
  /** Nothing more will be received: the same, and for what was sent and has no answer. */
  dropAll(error: Error): void;
  /** Closes the socket. */
  disconnect(): void;
}

class Receiver<T> extends Queued {
  constructor(
    readonly deliver: (item: T) => void,
    readonly fail?: (error: Error) => void,
    /** How many it takes at once, at most. It finds the others in the stash. */
    readonly most = 1,
  ) {
    super();
  }
}

/**
 * What a passer and a channel share: who waits for the next item received, what was received before anyone asked, and how
 * it all ends.
 *
 * `'closing'`: `close` was called and something is still to be sent. `'ending'`: the wire is over, but what was received
 * still waits for someone.
 */
export class Life<T> {
  readonly #of: Emitter;
  readonly #alive: Alive<T>;
  readonly #onError: OnError | undefined;
  #state: 'open' | 'closing' | 'ending' | 'closed' = 'open';
  /** Why it is closed or closing: the end of a sentence, and the error if it was one. */
  #reason = '';
  #failure: Error | undefined;
  #sendFailure: Error | undefined;
  #unreported: Error | undefined;
  #inOrder = false;
  #told = false;
  /** What `close` returns. Nothing that the application does to the `'close'` event or in it keeps it from resolving. */
  #whenClosed: Promise<void> | undefined;
  #resolveClosed: () => void = () => {};

  readonly #receivers = new Queue<Receiver<T>>();
  /** How many they take together, at most. */
  #asked = 0;
  #stash: T[] = [];
  /** How many of the stash were handed out already. */
  #unstashed = 0;
  #delivering = false;
  /** How often something at hand was asked for in this turn of the event loop. */
  #inTurn = 0;

  constructor(of: Emitter, alive: Alive<T>, onError: OnError | undefined) {
    if (onError !== undefined && typeof onError !== 'function')
      throw invalidType('options.onError', 'a function', onError);
    this.#of = of;
    this.#alive = alive;
    this.#onError = onError;
  }

  // ---- receiving

  /** How many the receivers take, less what is at hand for them. */
  get wanted(): number {
    return this.#asked - this.#stashed();
  }

  ask(deliver: (item: T) => void): void {
    this.#ask(new Receiver(deliver));
  }

  receive(options: Abortable): Promise<T> {
    return abortable(options, (resolve, reject) => this.#abortable(new Receiver(resolve, reject), reject));
  }

  /** At least one, and with it what else is at hand, up to `most`. */
  receiveMany(most: number, options: Abortable): Promise<T[]> {
    return abortable(options, (resolve, reject) => {
      const deliver = (first: T): void => {
        const items = [first];
        while (items.length < most && this.#stashed() > 0) items.push(this.#take());
        resolve(items);
      };
      return this.#abortable(new Receiver(deliver, reject, most), reject);
    });
  }

  #ask(receiver: Receiver<T>): void {
    if (this.#state === 'closing' || this.#state === 'closed') throw this.#closed();
    this.#receivers.push(receiver);
    this.#asked += receiver.most;
    if (this.#delivering) return; // `deliver` sees it
    if (this.#stashed() > 0) this.#deliverSoon();
    this.#alive.asked();
  }

  #abortable(receiver: Receiver<T>, reject: (error: Error) => void): (error: Error) => void {
    this.#ask(receiver);
    return (error) => {
      if (!this.#receivers.remove(receiver)) return;
      this.#asked -= receiver.most;
      reject(error);
      this.#alive.asked();
    };
  }

  #nextReceiver(): Receiver<T> | undefined {
    const receiver = this.#receivers.shift();
    this.#asked -= receiver?.most ?? 0;
    return receiver;
  }

  /** Takes in what was received; `deliver` hands it out. */
  put(item: T): void {
    this.#stash.push(item);
  }

  deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      while (this.#stashed() > 0 && this.#receivers.length > 0) {
        const receiver = this.#nextReceiver()!;
        receiver.deliver(this.#take());
      }
    } finally {
      this.#delivering = false;
      // A callback threw: the others are called all the same.
      if (this.#stashed() > 0 && this.#receivers.length > 0) process.nextTick(() => this.deliver());
      if (this.#state === 'ending' && this.#stashed() === 0) this.#shutDown(true);
      else this.#alive.asked();
    }
  }

  /** Whoever takes what is at hand one by one, in a loop, lets the event loop turn now and then. */
  #deliverSoon(): void {
    if (this.#inTurn++ === 0) setImmediate(() => (this.#inTurn = 0));
    if (this.#inTurn < MOST_IN_TURN) process.nextTick(() => this.deliver());
    else setImmediate(() => this.deliver());
  }

  // No getter: private ones are slow in V8.
  #stashed(): number {
    return this.#stash.length - this.#unstashed;
  }

  #take(): T {
    const item = this.#unstash();
    this.#alive.taken?.(item);
    return item;
  }

  #unstash(): T {
    const item = this.#stash[this.#unstashed++]!;
    if (this.#stashed() === 0) {
      this.#stash = [];
      this.#unstashed = 0;
    }
    return item;
  }

  #dropStash(): void {
    while (this.#stashed() > 0) attempt(() => this.#alive.discard(this.#unstash()));
  }

  #failReceivers(error: Error): void {
    for (let next = this.#nextReceiver(); next; next = this.#nextReceiver()) next.fail?.(error);
  }

  // ---- the end

  /** Whether it ended by `close`, `destroy`, or an orderly end of the peer. */
  get inOrder(): boolean {
    return this.#inOrder;
  }

  /** What broke it. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Throws `ERR_FDPASSER_CLOSED` unless something can still be sent. */
  checkSendable(): void {
    if (this.#sendFailure !== undefined) throw closed(this.#alive.what, this.#sendFailure.message, this.#sendFailure);
    if (this.#state !== 'open') throw this.#closed();
  }

  /** The peer takes nothing more, though what it sent may still be there. `loses` says whether that is an error. */
  cannotSend(error: Error, loses: boolean): void {
    this.#sendFailure = error;
    if (loses) this.#unreported = error;
    this.#alive.dropUnsent(error);
    if (this.#state !== 'closing' || this.#alive.owes()) return;
    if (loses) this.fail(error);
    else this.#shutDown(false);
  }

  /** The wire is over. What was received before can still be asked for. */
  ended(error: Error | undefined): void {
    this.#failure = error;
    this.#reason = error?.message ?? 'the peer closed its end';
    this.#inOrder ||= error === undefined;
    this.#alive.dropAll(error ?? this.#closed());
    if (this.#stashed() > 0) this.#state = 'ending';
    else this.#shutDown(true);
  }

  /** The wire is over because of what came last. That is told at once; what was received before can still be asked for. */
  broken(error: Error): void {
    if (this.#stashed() === 0) {
      this.fail(error);
      return;
    }
    this.#failure = error;
    this.#reason = error.message;
    this.#state = 'ending';
    this.#alive.disconnect();
    this.#alive.dropAll(error);
    this.#tell();
  }

  /** An error ends it at once. */
  fail(error: Error): void {
    if (this.#state === 'closed') return;
    this.#failure = error;
    this.#inOrder = false;
    this.#reason = error.message;
    this.#shutDown(true);
  }

  /** This side ends it at once. What had ended it before is reported all the same. */
  finish(reason: string): void {
    if (this.#state === 'closed') return;
    const error = this.#failure ?? this.#unreported;
    if (error !== undefined) {
      this.fail(error); // it had broken already, and nobody was told
      return;
    }
    const report = this.#state === 'ending';
    this.#reason ||= reason;
    this.#inOrder = true;
    this.#shutDown(report);
  }

  /** Resolves when it is closed, having sent what was queued unless it broke before. */
  close(): Promise<void> {
    this.#whenClosed ??= new Promise((resolve) => (this.#resolveClosed = resolve));
    if (this.#state === 'closed') this.#resolveClosed();
    else if (this.#state === 'ending' || this.#sendFailure !== undefined) this.finish('close() was called');
    else if (this.#state === 'open') {
      this.#state = 'closing';
      this.#reason = 'close() was called';
      this.#inOrder = true;
      this.#failReceivers(this.#closed());
      this.#dropStash();
      this.#alive.asked();
      this.#alive.closing();
      this.closeIfDone();
    }
    return this.#whenClosed;
  }

  /** Something was sent, or need not be sent any more. */
  closeIfDone(): void {
    if (this.#state === 'closing' && !this.#alive.owes()) this.finish('close() was called');
  }

  /** For an event of the link, after whatever it is doing now. `unheard` is called if nobody listens. */
  emitLater(event: 'exhausted' | 'resumed', unheard?: () => void): void {
    process.nextTick(() => {
      if (!this.#of.emit(event)) unheard?.();
    });
  }

  #closed(): Error {
    return closed(this.#alive.what, this.#reason, this.#failure);
  }

  #shutDown(report: boolean): void {
    this.#state = 'closed';
    this.#alive.disconnect();
    const error = this.#failure;
    this.#alive.dropAll(error ?? this.#closed());
    this.#failReceivers(error ?? this.#closed());
    this.#dropStash();
    // One by one, so that what the application throws in one keeps no other from being called. And soon: whoever awaits
    // a promise that this settled finds it closed.
    if (report) this.#tell();
    queueMicrotask(() => {
      this.#resolveClosed();
      this.#of.emit('close');
    });
  }

  /** Tells once what ended it. */
  #tell(): void {
    const error = this.#failure;
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => this.#onError?.(error));
    queueMicrotask(() => {
      if (error !== undefined && this.#of.listenerCount('error') > 0) this.#of.emit('error', error);
    });
  }
}
