import type { InspectOptions } from 'node:util';
import { INSPECT, inspected, type Inspect } from '../common/inspect.js';
import type { FdLike } from '../descriptor/fd-like.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { notAsked } from '../errors.js';
import type { Question, ReplyOptions } from './question.js';

/**
 * A message received, and its descriptors, which are the receiver's to close. `Reply` is what it may be replied with.
 */
export class Message<T = unknown, Reply = unknown> {
  readonly value: T;
  readonly fds: OwnedFd[];
  readonly #question: Question | undefined;

  /** Only channels have use for a `question`. */
  constructor(value: T, fds: OwnedFd[], question?: Question) {
    this.value = value;
    this.fds = fds;
    this.#question = question;
    if (question !== undefined) forgotten.register(this, question);
  }

  /** Whether it is a request, and has no reply yet. */
  get expectsReply(): boolean {
    return this.#question?.isOpen ?? false;
  }

  /**
   * Replies to a request. Takes the descriptors over: they are closed here once the kernel has the reply, unless
   * `keepOpen`. Resolves then.
   *
   * Rejects with `ERR_FDPASSER_NOT_ASKED` when this is no request or has its reply, with `ERR_FDPASSER_CLOSED`,
   * `ERR_FDPASSER_TOO_LARGE` for the peer's limits, what the codec has against the value, or the system's error. The
   * descriptors are then still the caller's, and a request can be replied to otherwise.
   */
  async reply(value: Reply, fds: readonly FdLike[] = [], options: ReplyOptions = {}): Promise<void> {
    if (this.#question === undefined) throw notAsked('asks for none');
    await this.#question.reply(value, fds, options);
  }

  /**
   * Closes the descriptors that were not taken out, handed on or closed: for `using`. Whoever sent a request that has
   * no reply yet hears that there is none.
   */
  [Symbol.dispose](): void {
    this.#question?.drop();
    const failures: unknown[] = [];
    for (const fd of this.fds) {
      try {
        fd.close();
      } catch (error) {
        failures.push(error); // the others are closed all the same
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** @internal */
  [INSPECT](_depth: number, options: InspectOptions, inspect: Inspect): string {
    const { value, fds, expectsReply } = this;
    return inspected(this, expectsReply ? { value, fds, expectsReply } : { value, fds }, options, inspect);
  }
}

/** Of a request that nobody has any more there will be no reply. */
const forgotten = new FinalizationRegistry<Question>((question) => question.drop());
