import { ABORTABLE, abortable, type Abortable } from '../common/abort.js';
import { attempt } from '../common/attempt.js';
import { checkOptions, invalidType } from '../common/arguments.js';
import { closed } from '../errors.js';
import { Queue, Queued } from '../common/queue.js';
import { LinkOwner, type Emitter } from './link-owner.js';

/** How many of what is at hand are handed out one by one in one turn of the event loop. */
const MOST_IN_TURN = 64;

export type OnError = (error: NodeJS.ErrnoException | undefined) => void;

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
 * `'closing'`: `close` was called and something is still to be sent. `'ending'`: the wire is over, but what was
 * received still waits for someone.
 */
type State = 'open' | 'closing' | 'ending' | 'closed';

/**
 * What a passer and a channel have inside: who waits for the next item received, what was received before anyone asked,
 * and how it all ends.
 */
export abstract class Session<T> extends LinkOwner {
  readonly #onError: OnError | undefined;
  #state: State = 'open';
  /** Why it is closed or closing: the end of a sentence, and the error if it was one. */
  #reason = '';
  #failure: Error | undefined;
  #sendFailure: Error | undefined;
  #unreported: Error | undefined;
  #inOrder = false;
  #told = false;
  /**
   * What `close` returns. Nothing that the application does to the `'close'` event or in it keeps it from resolving.
   */
  #whenClosed: Promise<void> | undefined;
  #resolveClosed: (() => void) | undefined;

  readonly #receivers = new Queue<Receiver<T>>();
  /** How many they take together, at most. */
  #asked = 0;
  #stash: (T | undefined)[] = [];
  /** How many of the stash were handed out already. */
  #unstashed = 0;
  #delivering = false;
  /** How often something at hand was asked for in this turn of the event loop. */
  #inTurn = 0;

  constructor(emitter: Emitter, onError: OnError | undefined) {
    super(emitter);
    if (onError !== undefined && typeof onError !== 'function')
      throw invalidType('options.onError', 'a function', onError);
    this.#onError = onError;
  }

  // ---- what each kind of session adds

  /** Whether `close` has something to wait for. */
  protected owes(): boolean {
    return this.unsent();
  }

  /** `close` is called: it must not wait for what can never come. */
  protected closing(): void {
    this.link?.check();
  }

  /** How many are asked for, less those at hand, has changed. */
  protected asked(): void {
    this.link?.receive();
  }

  /** Somebody gets this one. */
  protected taken(_item: T): void {}

  /** Nobody will. */
  protected abstract discard(item: T): void;

  /** Nothing more will be sent: gives back or closes what is queued. */
  protected abstract dropUnsent(error: Error): void;

  /** Nothing more will be received: the same, and for what was sent and has no answer. */
  protected dropAll(error: Error): void {
    this.dropUnsent(error);
  }

  /** Closes the socket. */
  protected disconnect(): void {
    this.link?.destroy(this.#failure);
  }

  // ---- receiving

  /** How many the receivers take, less what is at hand for them. */
  wanted(): number {
    return this.#asked - this.#stashed();
  }

  /** How many receives wait. */
  get asking(): number {
    return this.#receivers.length;
  }

  /** How many items are here that nobody has taken yet. */
  get waiting(): number {
    return this.#stashed();
  }

  ask(deliver: (item: T) => void): void {
    this.#ask(new Receiver(deliver));
  }

  receive(options: Abortable): Promise<T> {
    return abortable(options, (resolve, reject) => {
      checkOptions(options, ABORTABLE);
      return this.#abortable(new Receiver(resolve, reject), reject);
    });
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
    this.asked();
  }

  #abortable(receiver: Receiver<T>, reject: (error: Error) => void): (error: Error) => void {
    this.#ask(receiver);
    return (error) => {
      if (!this.#receivers.remove(receiver)) return;
      this.#asked -= receiver.most;
      reject(error);
      this.asked();
    };
  }

  #nextReceiver(): Receiver<T> | undefined {
    const receiver = this.#receivers.shift();
    this.#asked -= receiver?.most ?? 0;
    return receiver;
  }

  /** Takes in what was received, for `deliver` to hand out. Once `close` was called, it comes too late. */
  protected put(item: T): void {
    if (this.#state === 'closing') attempt(() => this.discard(item));
    else this.#stash.push(item);
  }

  protected deliver(): void {
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
      else this.link?.receive();
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
    this.taken(item);
    return item;
  }

  #unstash(): T {
    const item = this.#stash[this.#unstashed]!;
    this.#stash[this.#unstashed++] = undefined; // what was handed out can be garbage
    if (2 * this.#unstashed >= this.#stash.length) {
      this.#stash = this.#stash.slice(this.#unstashed);
      this.#unstashed = 0;
    }
    return item;
  }

  #dropStash(): void {
    while (this.#stashed() > 0) attempt(() => this.discard(this.#unstash()));
  }

  #failReceivers(error: Error): void {
    for (let next = this.#nextReceiver(); next; next = this.#nextReceiver()) next.fail?.(error);
  }

  // ---- the end

  /** Its state, for those who look. */
  get state(): State {
    return this.#state;
  }

  /** Whether it ended by `close`, `destroy`, or an orderly end of the peer. */
  get inOrder(): boolean {
    return this.#inOrder;
  }

  /** What broke it. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Whether something can still be sent. */
  get sendable(): boolean {
    return this.#state === 'open' && this.#sendFailure === undefined;
  }

  /** Throws `ERR_FDPASSER_CLOSED` unless something can still be sent. */
  checkSendable(): void {
    if (this.#sendFailure !== undefined) throw closed(this.what, this.#sendFailure.message, this.#sendFailure);
    if (this.#state !== 'open') throw this.#closed();
  }

  cannotSend(error: Error): boolean {
    this.sendingFailed(error, true);
    return true;
  }

  /** The peer takes nothing more, though what it sent may still be there. `loses` says whether that is an error. */
  protected sendingFailed(error: Error, loses: boolean): void {
    this.#sendFailure = error;
    if (loses) this.#unreported = error;
    this.dropUnsent(error);
    if (this.#state !== 'closing' || this.owes()) return;
    if (loses) this.fail(error);
    else this.#shutDown(false);
  }

  /** The wire is over. What was received before can still be asked for. */
  ended(error: Error | undefined): void {
    this.#failure = error;
    this.#reason = error?.message ?? 'the peer closed its end';
    this.#inOrder ||= error === undefined;
    this.dropAll(error ?? this.#closed());
    if (this.#stashed() > 0) this.#state = 'ending';
    else this.#shutDown(true);
  }

  /**
   * The wire is over because of what came last. That is told at once; what was received before can still be asked for.
   */
  protected broken(error: Error): void {
    if (this.#stashed() === 0) {
      this.fail(error);
      return;
    }
    this.#failure = error;
    this.#reason = error.message;
    this.#state = 'ending';
    this.disconnect();
    this.dropAll(error);
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

  /** The application ends it at once. */
  destroy(error?: Error): void {
    if (error === undefined) this.finish('destroy() was called');
    else this.fail(error);
  }

  /** This side ends it at once. What had ended it before is reported all the same. */
  protected finish(reason: string): void {
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
    if (this.#state === 'closed') this.#resolveClosed?.();
    else if (this.#state === 'ending' || this.#sendFailure !== undefined) this.finish('close() was called');
    else if (this.#state === 'open') {
      this.#state = 'closing';
      this.#reason = 'close() was called';
      this.#inOrder = true;
      this.#failReceivers(this.#closed());
      this.#dropStash();
      this.link?.receive();
      this.closing();
      this.closeIfDone();
    }
    return this.#whenClosed;
  }

  /** Something was sent, or need not be sent any more. */
  closeIfDone(): void {
    if (this.#state === 'closing' && !this.owes()) this.finish('close() was called');
  }

  #closed(): Error {
    return closed(this.what, this.#reason, this.#failure);
  }

  #shutDown(report: boolean): void {
    this.#state = 'closed';
    this.disconnect();
    const error = this.#failure;
    this.dropAll(error ?? this.#closed());
    this.#failReceivers(error ?? this.#closed());
    this.#dropStash();
    // One by one, so that what the application throws in one keeps no other from being called. And soon: whoever awaits
    // a promise that this settled finds it closed.
    if (report) this.#tell();
    queueMicrotask(() => {
      this.#resolveClosed?.();
      this.emitter!.emit('close');
    });
  }

  /** Tells once what ended it. */
  #tell(): void {
    const error = this.#failure;
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => this.#onError?.(error));
    queueMicrotask(() => {
      if (error !== undefined && this.emitter!.listenerCount('error') > 0) this.emitter!.emit('error', error);
    });
  }
}
