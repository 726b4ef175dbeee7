import type { FdLike } from '../descriptor/fd-like.js';
import { notAsked } from '../errors.js';

export interface ReplyOptions {
  /**
   * Whether the descriptors stay open here, and stay the caller's. Default false: they are closed when they are sent.
   */
  keepOpen?: boolean | undefined;
}

/** What sends the answers. */
export interface Answerer {
  /** Queues a reply. Later it calls either `sent` or `refused`, once. Throws if there cannot be a reply. */
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
 * A request from the peer, which is answered once: by a reply, or by a decline. If a reply is refused, it is open
 * again. `'last'`: a reply is being sent, and if that is refused, nobody can give another one.
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

  /** To be called when nobody can reply any more. */
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
