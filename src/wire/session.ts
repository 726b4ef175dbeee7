import { ABORTABLE, abortable, NO_OPTIONS, type Abortable } from '../common/abort.js';
import { attempt } from '../common/attempt.js';
import { invalidType } from '../common/arguments.js';
import { closed } from '../errors.js';
import { Queue, type Queued } from '../common/queue.js';
import { LinkOwner, type Emitter } from './link-owner.js';

/** How many items at hand are handed out one by one in one turn of the event loop. */
const MOST_IN_TURN = 64;
/** So many places at the front of the stash that are empty already are cut off. */
const WORTH_CUTTING = 1024;
/** The stash of those that have nothing in theirs. */
const NONE: never[] = [];

export type OnError = (error: NodeJS.ErrnoException | undefined) => void;

class Receiver<T> implements Queued {
  place = 0;

  constructor(
    readonly deliver: (item: T) => void,
    readonly fail: (error: Error) => void,
    /** The most items that it takes at once. It takes those after the first out of the stash. */
    readonly most = 1,
  ) {}
}

/** Who waits for an item. A callback that takes one and is told no error waits itself. */
type Waiting<T> = Receiver<T> | ((item: T) => void);

/**
 * `'closing'`: `close` was called, and something is still to be sent. `'ending'`: the wire has ended, but nobody has
 * taken yet what was received.
 */
type State = 'open' | 'closing' | 'ending' | 'closed';

/**
 * What passers, channels and streams have in common: who waits for the next item, what was received before anyone
 * asked, and how the session ends. `T` is the type of an item.
 */
export abstract class Session<T> extends LinkOwner {
  readonly #onError: OnError | undefined;
  #state: State = 'open';
  /** Why it is closed or closing: the end of a sentence, and the error if there was one. */
  #reason = '';
  #failure: Error | undefined;
  #sendFailure: Error | undefined;
  #unreported: Error | undefined;
  #inOrder = false;
  #told = false;
  /** What `close` returns. It resolves whatever the application does with the `'close'` event. */
  #whenClosed: { promise: Promise<void>; resolve: () => void } | undefined;

  #receivers = Queue.none<Receiver<T>, (item: T) => void>();
  /** The most items that they take together. */
  #asked = 0;
  #stash: (T | undefined)[] = NONE;
  /** How many items of the stash were handed out already. */
  #unstashed = 0;
  #delivering = false;
  /** How often items at hand were asked for in this turn of the event loop. */
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

  /** Called by `close`, which must not wait for what can never come. */
  protected closing(): void {
    this.link?.check();
  }

  /** Called when the result of `wanted` may have changed. */
  protected asked(): void {
    this.link?.receive();
  }

  /** Called with an item that is handed out. */
  protected taken(_item: T): void {}

  /** Called with each item that is here when the wire has ended: from now on nothing but the application holds them. */
  protected outlives(_item: T): void {}

  /** Called with an item that nobody will get. */
  protected abstract discard(item: T): void;

  /** Nothing more will be sent. Gives back or closes what is queued. */
  protected abstract dropUnsent(error: Error): void;

  /**
   * Nothing more will be received or sent. Gives back or closes what is queued, and what was sent and has no answer.
   */
  protected dropAll(error: Error): void {
    this.dropUnsent(error);
  }

  /** Closes the socket. */
  protected disconnect(): void {
    this.link?.destroy(this.#failure);
  }

  // ---- receiving

  /** How many items the receivers take, less those that are here for them. */
  wanted(): number {
    return this.#asked - this.#stashed();
  }

  /** How many calls wait for items. */
  get asking(): number {
    return this.#receivers.length;
  }

  /** How many items are here that nobody has taken. */
  get waiting(): number {
    return this.#stashed();
  }

  ask(deliver: (item: T) => void): void {
    this.#checkAskable();
    (this.#receivers = this.#receivers.own()).pushBare(deliver);
    this.#asks(1);
  }

  /** Resolves with what `of` makes of the next item. */
  receive<R>(options: Abortable, of: (item: T) => R): Promise<R> {
    if (options === NO_OPTIONS && this.#isAtHand()) return Promise.resolve(of(this.#take()));
    return abortable(options, ABORTABLE, (resolve, reject) =>
      this.#abortable(new Receiver((item) => resolve(of(item)), reject), reject),
    );
  }

  /** Whether the next item may be taken at once. Now and then the event loop must turn first. */
  #isAtHand(): boolean {
    if (this.#state !== 'open' || this.#stashed() === 0 || this.#receivers.length > 0 || this.#delivering) return false;
    return this.#mayHandOut();
  }

  /** Resolves with at least one item, and with the others that are here, up to `most`. */
  receiveMany(most: number, options: Abortable): Promise<T[]> {
    return abortable(options, ABORTABLE, (resolve, reject) => {
      const deliver = (first: T): void => {
        const items = [first];
        while (items.length < most && this.#stashed() > 0) items.push(this.#take());
        resolve(items);
      };
      return this.#abortable(new Receiver(deliver, reject, most), reject);
    });
  }

  #checkAskable(): void {
    if (this.#state === 'closing' || this.#state === 'closed') throw this.#closed();
  }

  #asks(most: number): void {
    this.#asked += most;
    if (this.#delivering) return; // `deliver` finds it in its loop
    if (this.#stashed() > 0) this.#deliverSoon();
    this.asked();
  }

  #abortable(receiver: Receiver<T>, reject: (error: Error) => void): (error: Error) => void {
    this.#checkAskable();
    (this.#receivers = this.#receivers.own()).push(receiver);
    this.#asks(receiver.most);
    return (error) => {
      if (!this.#receivers.remove(receiver)) return;
      this.#asked -= receiver.most;
      reject(error);
      this.asked();
    };
  }

  #nextReceiver(): Waiting<T> | undefined {
    const receiver = this.#receivers.shift();
    if (receiver !== undefined) this.#asked -= typeof receiver === 'function' ? 1 : receiver.most;
    return receiver;
  }

  /** Adds a received item, which `deliver` will hand out. After `close` it is discarded. */
  protected put(item: T): void {
    if (this.#state === 'closing') attempt(() => this.discard(item));
    else if (this.#stash === NONE) this.#stash = [item];
    else this.#stash.push(item);
  }

  protected deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      while (this.#stashed() > 0 && this.#receivers.length > 0) {
        const receiver = this.#nextReceiver()!;
        if (typeof receiver === 'function') receiver(this.#take());
        else receiver.deliver(this.#take());
      }
    } finally {
      this.#delivering = false;
      // Left over if a callback threw: the next tick calls the others.
      if (this.#stashed() > 0 && this.#receivers.length > 0) process.nextTick(() => this.deliver());
      if (this.#state === 'ending' && this.#stashed() === 0) this.#shutDown(true);
      else this.link?.receive();
    }
  }

  /**
   * Delivers at the end of the tick. Now and then it lets the event loop turn first, because a program may take the
   * items here one by one in a loop.
   */
  #deliverSoon(): void {
    if (this.#mayHandOut()) process.nextTick(() => this.deliver());
    else setImmediate(() => this.deliver());
  }

  #mayHandOut(): boolean {
    if (this.#inTurn++ === 0) setImmediate(() => (this.#inTurn = 0));
    return this.#inTurn < MOST_IN_TURN;
  }

  // A method, because private getters are slow in V8.
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
    this.#stash[this.#unstashed++] = undefined; // so that it can be garbage-collected
    if (this.#unstashed === this.#stash.length) {
      this.#stash = NONE;
      this.#unstashed = 0;
    } else if (this.#unstashed >= WORTH_CUTTING && 2 * this.#unstashed >= this.#stash.length) {
      this.#stash = this.#stash.slice(this.#unstashed);
      this.#unstashed = 0;
    }
    return item;
  }

  #dropStash(): void {
    while (this.#stashed() > 0) attempt(() => this.discard(this.#unstash()));
  }

  #failReceivers(error: Error): void {
    for (let next = this.#nextReceiver(); next; next = this.#nextReceiver())
      if (typeof next !== 'function') next.fail(error);
  }

  // ---- the end

  /** Its state, for `console.log`. */
  get state(): State {
    return this.#state;
  }

  /** Whether it ended without an error: by `close`, by `destroy`, or because the peer ended in order. */
  get inOrder(): boolean {
    return this.#inOrder;
  }

  /** The error that broke it. */
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

  /** The peer takes nothing more, but what it sent may still be here. `loses` says whether that is an error. */
  protected sendingFailed(error: Error, loses: boolean): void {
    this.#sendFailure = error;
    if (loses) this.#unreported = error;
    this.dropUnsent(error);
    if (this.#state !== 'closing' || this.owes()) return;
    if (loses) this.fail(error);
    else this.#shutDown(false);
  }

  /** The wire has ended. What was received before can still be asked for. */
  ended(error: Error | undefined): void {
    this.#failure = error;
    this.#reason = error?.message ?? 'the peer closed its end';
    this.#inOrder ||= error === undefined;
    this.dropAll(error ?? this.#closed());
    if (this.#stashed() > 0) this.#end();
    else this.#shutDown(true);
  }

  /**
   * What came last has broken the wire. The error is reported at once. What was received before can still be asked for.
   */
  protected broken(error: Error): void {
    if (this.#stashed() === 0) {
      this.fail(error);
      return;
    }
    this.#failure = error;
    this.#reason = error.message;
    this.#end();
    this.disconnect();
    this.dropAll(error);
    this.#tell();
  }

  #end(): void {
    this.#state = 'ending';
    for (let i = this.#unstashed; i < this.#stash.length; i++) this.outlives(this.#stash[i]!);
  }

  /** Ends it at once, with an error. */
  fail(error: Error): void {
    if (this.#state === 'closed') return;
    this.#failure = error;
    this.#inOrder = false;
    this.#reason = error.message;
    this.#shutDown(true);
  }

  /** Ends it at once, for the application. */
  destroy(error?: Error): void {
    if (error === undefined) this.finish('destroy() was called');
    else this.fail(error);
  }

  /** Ends it at once, for this side. An error that has broken it before is still reported. */
  protected finish(reason: string): void {
    if (this.#state === 'closed') return;
    const error = this.#failure ?? this.#unreported;
    if (error !== undefined) {
      this.fail(error); // it had broken before, and nobody was told
      return;
    }
    const report = this.#state === 'ending';
    this.#reason ||= reason;
    this.#inOrder = true;
    this.#shutDown(report);
  }

  /** Sends what is queued, closes, and then resolves. It resolves earlier if an error breaks the session. */
  close(): Promise<void> {
    const whenClosed = (this.#whenClosed ??= deferred());
    if (this.#state === 'closed') whenClosed.resolve();
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
    return whenClosed.promise;
  }

  /** Closes if `close` was called and nothing is to be sent any more. */
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
    // Each callback is called separately, so that none is left out if another throws. They are called in microtasks, so
    // that whoever awaits a promise settled above finds the session closed.
    if (report) this.#tell();
    queueMicrotask(() => {
      this.#whenClosed?.resolve();
      this.emitter!.emit('close');
    });
  }

  /** Reports once what has ended it. */
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

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}
