/** Where a process waits until it may go on. */
export class Gate {
  #reached!: Promise<void>;
  #reach!: () => void;
  /** Who came last, and is still there or has gone on. */
  #who: unknown;
  /** Lets the process go on, now or when it comes. */
  open!: () => void;
  /** Sends the process back, unless it has gone on. */
  shut!: (error: Error) => void;
  readonly #opened: Promise<void>;

  constructor() {
    this.#await();
    this.#opened = new Promise((resolve, reject) => {
      this.open = resolve;
      this.shut = reject;
    });
    this.#opened.catch(() => {}); // perhaps nobody comes
  }

  /** Resolves when the process is there. */
  get reached(): Promise<void> {
    return this.#reached;
  }

  get isReached(): boolean {
    return this.#who !== undefined;
  }

  /** The process is there. Resolves when it may go on, and rejects when it may not. */
  pass(who: object): Promise<void> {
    this.#who = who;
    this.#reach();
    return this.#opened;
  }

  /** The process has left. It may come again, or another. */
  leave(who: object): void {
    if (this.#who !== who) return;
    this.#who = undefined;
    this.#await();
  }

  #await(): void {
    this.#reached = new Promise((resolve) => (this.#reach = resolve));
  }
}
