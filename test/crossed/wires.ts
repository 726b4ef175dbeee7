import type { EventEmitter } from 'node:events';
import { FdChannel, FdPasser, FdStream, socketpair, type FdLike, type OwnedFd } from 'fdpasser';

/** How a descriptor is handed over. */
export interface Term {
  name: string;
  /** Whether it stays the sender's. */
  keep: boolean;
  /** Whether what is not sent is closed here, rather than given back. */
  forGood?: true;
  /** Whether a resolved send means that the receiver has taken it. */
  confirm?: true;
  /** When a signal is aborted: before the call, or right after it. */
  abort?: 'before' | 'at once';
}

/** The outcome of one send. */
export type Outcome =
  | { what: 'sent' }
  | { what: 'refused'; error: NodeJS.ErrnoException } // the call threw, or its promise rejected
  | { what: 'silent' }; // pushed, and its callback was not called

/** Two ends, of which one sends. */
export interface Wire {
  /** Settles with the outcome. A pushed descriptor reports nothing until it is sent. */
  send(value: FdLike, term: Term): Promise<Outcome>;
  close(): Promise<void>;
  destroy(): void;
  /** The other end takes what comes, from now on. */
  take(received: OwnedFd[]): void;
  /** The other end ends, with all that it has not taken. */
  leave(): void;
  /** Both ends are closed. */
  over(): Promise<void>;
}

export interface WireKind {
  name: string;
  terms: readonly Term[];
  /** Whether it can carry bytes that were already read from a connection. */
  carriesUnread?: true;
  /** Whether the sender cannot notice that the other end has gone. */
  deaf?: true;
  open(): Wire;
}

const GIVE: Term = { name: 'given', keep: false };
const KEEP: Term = { name: 'lent', keep: true };
const BEFORE: Term = { name: 'given, and aborted before', keep: false, abort: 'before' };
const AT_ONCE: Term = { name: 'given, and aborted at once', keep: false, abort: 'at once' };
const KEPT_AT_ONCE: Term = { name: 'lent, and aborted at once', keep: true, abort: 'at once' };
const PUSH: Term = { name: 'pushed', keep: false, forGood: true };
const PUSH_KEEP: Term = { name: 'pushed and lent', keep: true, forGood: true };
const CONFIRM: Term = { name: 'given to be confirmed', keep: false, confirm: true };
const CONFIRM_KEEP: Term = { name: 'lent to be confirmed', keep: true, confirm: true };

function signalOf({ abort }: Term): { options: { signal?: AbortSignal }; afterwards: () => void } {
  if (abort === undefined) return { options: {}, afterwards() {} };
  const controller = new AbortController();
  if (abort === 'before') controller.abort();
  return { options: { signal: controller.signal }, afterwards: () => controller.abort() };
}

function outcome(promise: Promise<unknown>): Promise<Outcome> {
  return promise.then(
    () => ({ what: 'sent' }),
    (error: NodeJS.ErrnoException) => ({ what: 'refused', error }),
  );
}

/** `events.once` would fail by an `'error'`, which is no fault here. */
function closed(...ends: EventEmitter[]): Promise<unknown> {
  return Promise.all(ends.map((end) => new Promise((resolve) => void end.once('close', resolve))));
}

/** Two ends of the same class, as far as that class does not matter. */
abstract class Ends<End extends EventEmitter & { destroy(): unknown }> implements Wire {
  protected readonly one: End;
  protected readonly other: End;
  readonly #over: Promise<unknown>;
  /** Until the loop that takes what comes is left. */
  protected taking: Promise<void> | undefined;

  constructor(one: End, other: End) {
    this.one = one;
    this.other = other;
    this.#over = closed(one, other);
  }

  abstract send(value: FdLike, term: Term): Promise<Outcome>;
  abstract close(): Promise<void>;
  abstract take(received: OwnedFd[]): void;

  destroy(): void {
    this.one.destroy();
  }

  leave(): void {
    this.other.destroy();
  }

  async over(): Promise<void> {
    await this.#over;
    await this.taking;
  }
}

class Passing extends Ends<FdPasser> {
  constructor(type: 'stream' | 'seqpacket' | 'dgram', batch: number) {
    const [one, other] = socketpair({ type });
    super(new FdPasser({ fh: one, batch }), new FdPasser({ fh: other, batch }));
  }

  send(value: FdLike, term: Term): Promise<Outcome> {
    if (!term.forGood) {
      const { options, afterwards } = signalOf(term);
      const sent = outcome(this.one.send(value, { keepOpen: term.keep, ...options }));
      afterwards();
      return sent;
    }
    return new Promise((resolve) => {
      try {
        this.one.pushSendFh(value, { keepOpen: term.keep }, () => resolve({ what: 'sent' }));
      } catch (error) {
        resolve({ what: 'refused', error: error as NodeJS.ErrnoException });
      }
      void this.over().then(() => resolve({ what: 'silent' }));
    });
  }

  close(): Promise<void> {
    return this.one.close();
  }

  take(received: OwnedFd[]): void {
    const take = async (): Promise<void> => {
      for await (const fd of this.other) received.push(fd);
    };
    this.taking = take().catch(() => {}); // its end reports the error
  }
}

class Messages extends Ends<FdChannel> {
  constructor(type: 'stream' | 'seqpacket') {
    const [one, other] = socketpair({ type });
    super(new FdChannel(one), new FdChannel(other));
  }

  send(value: FdLike, term: Term): Promise<Outcome> {
    const { options, afterwards } = signalOf(term);
    const confirm = term.confirm ?? false;
    const sent = outcome(this.one.send('text', [value], { keepOpen: term.keep, confirm, ...options }));
    afterwards();
    return sent;
  }

  close(): Promise<void> {
    return this.one.close();
  }

  take(received: OwnedFd[]): void {
    const take = async (): Promise<void> => {
      for await (const { fds } of this.other) received.push(...fds);
    };
    this.taking = take().catch(() => {}); // its end reports the error
  }
}

class Streams extends Ends<FdStream> {
  constructor() {
    const [one, other] = socketpair();
    super(
      new FdStream(one).on('error', () => {}).resume(),
      new FdStream(other).on('error', () => {}),
    );
  }

  send(value: FdLike, term: Term): Promise<Outcome> {
    return new Promise((resolve) => {
      try {
        this.one.writeWithFds(Buffer.from('text'), [value], { keepOpen: term.keep }, (error) =>
          resolve(error ? { what: 'refused', error } : { what: 'sent' }),
        );
      } catch (error) {
        resolve({ what: 'refused', error: error as NodeJS.ErrnoException });
      }
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.one.destroyed) resolve();
      this.one.once('close', resolve).end();
    });
  }

  take(received: OwnedFd[]): void {
    this.other.on('fds', (fds: OwnedFd[]) => void received.push(...fds)).resume();
  }
}

const SENT = [GIVE, KEEP, BEFORE, AT_ONCE, KEPT_AT_ONCE];

export const WIRES: readonly WireKind[] = [
  ...(['stream', 'seqpacket', 'dgram'] as const).map((type) => ({
    name: `FdPasser ${type}`,
    terms: [...SENT, PUSH, PUSH_KEEP],
    ...(type === 'dgram' ? { deaf: true as const } : {}),
    open: () => new Passing(type, 1),
  })),
  { name: 'FdPasser batch', terms: [...SENT, PUSH, PUSH_KEEP], open: () => new Passing('stream', 253) },
  ...(['stream', 'seqpacket'] as const).map((type) => ({
    name: `FdChannel ${type}`,
    terms: [...SENT, CONFIRM, CONFIRM_KEEP],
    carriesUnread: true as const,
    open: () => new Messages(type),
  })),
  {
    name: 'FdStream',
    terms: [
      { ...GIVE, forGood: true },
      { ...KEEP, forGood: true },
    ],
    open: () => new Streams(),
  },
];
