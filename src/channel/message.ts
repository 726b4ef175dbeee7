import type { InspectOptions } from 'node:util';
import { INSPECT, inspected, type Inspect } from '../common/inspect.js';
import type { FdLike } from '../descriptor/fd-like.js';
import type { OwnedFd } from '../descriptor/owned-fd.js';
import { notAsked } from '../errors.js';
import type { Question, ReplyOptions } from './question.js';

/**
 * A received message with its descriptors, which are the receiver's to close. `Reply` is the type of a reply's value.
 */
export class Message<T = unknown, Reply = unknown> {
  readonly value: T;
  /** Yours to close. */
  readonly fds: OwnedFd[];
  readonly #question: Question | undefined;

  /** Only channels pass a `question`. */
  constructor(value: T, fds: OwnedFd[], question?: Question) {
    this.value = value;
    this.fds = fds;
    this.#question = question;
    if (question !== undefined) forgotten.register(this, question);
  }

  /** Whether it is a request that has no reply yet. */
  get expectsReply(): boolean {
    return this.#question?.isOpen ?? false;
  }

  /**
   * Replies to a request, and takes the descriptors over. Unless `keepOpen`, they are closed here when the kernel has
   * the reply. Resolves then.
   *
   * Rejects with `ERR_FDPASSER_NOT_ASKED` if this is no request or has its reply, `ERR_FDPASSER_CLOSED`,
   * `ERR_FDPASSER_TOO_LARGE` for the peer's limits, an error of the codec for the value, or the system's error. The
   * descriptors are then still the caller's, and a request can be given another reply.
   */
  async reply(value: Reply, fds: readonly FdLike[] = [], options: ReplyOptions = {}): Promise<void> {
    if (this.#question === undefined) throw notAsked('asks for none');
    await this.#question.reply(value, fds, options);
  }

  /**
   * Closes the descriptors that were not taken out, handed on or closed: for `using`. If it is a request without a
   * reply, its sender is told that there will be none.
   */
  [Symbol.dispose](): void {
    this.#question?.drop();
    const failures: unknown[] = [];
    for (const fd of this.fds) {
      try {
        fd.close();
      } catch (error) {
        failures.push(error); // so that the others are closed too
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

/** Declines the requests that were garbage-collected without a reply. */
const forgotten = new FinalizationRegistry<Question>((question) => question.drop());
