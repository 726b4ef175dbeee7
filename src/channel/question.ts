import type { FdLike } from '../descriptor/fd-like.js';
import { notAsked } from '../errors.js';

export interface ReplyOptions {
  /** Leave the descriptors open here; they stay the caller's. Default false: they are closed. */
  keepOpen?: boolean | undefined;
}

/** Who sends the answers. */
export interface Answerer {
  /** Queues a reply; one of the others is called, once, when it was sent or will not be. Throws when it cannot be. */
  reply(
    number: number,
    value: unknown,
    fds: readonly FdLike[],
    options: ReplyOptions,
    sent: () => void,
    refused: (error: Error) => void,
  ): void;
  decline(number: number): void;
}

/**
 * A request of the peer's, which is answered once: by a reply, or by word that there is none. A reply that is refused
 * leaves it open; `'last'` is one under way that nobody can follow with another.
 */
export class Question {
  readonly #answerer: Answerer;
  readonly #number: number;
  #state: 'open' | 'replying' | 'last' | 'replied' | 'declined' = 'open';

  constructor(answerer: Answerer, number: number) {
    this.#answerer = answerer;
    this.#number = number;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  reply(value: unknown, fds: readonly FdLike[], options: ReplyOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#state !== 'open') throw notAsked(this.#state === 'declined' ? 'was disposed of' : 'has its reply');
      const refused = (error: Error): void => {
        this.#refused();
        reject(error);
      };
      const sent = (): void => {
        this.#state = 'replied';
        resolve();
      };
      this.#state = 'replying';
      try {
        this.#answerer.reply(this.#number, value, fds, options, sent, refused);
      } catch (error) {
        refused(error as Error);
      }
    });
  }

  /** Nobody will reply any more. */
  drop(): void {
    if (this.#state === 'replying') this.#state = 'last';
    else if (this.#state === 'open') this.#decline();
  }

  #refused(): void {
    if (this.#state === 'last') this.#decline();
    else this.#state = 'open';
  }

  #decline(): void {
    this.#state = 'declined';
    this.#answerer.decline(this.#number);
  }
}
