const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;

/** Lets what is under way be cleaned up before a signal ends this process. */
export class Interrupt {
  readonly #stop = new AbortController();
  /** Aborted when one has come. */
  readonly signal: AbortSignal = this.#stop.signal;
  readonly #abort = (name: NodeJS.Signals): void => this.#stop.abort(name);

  constructor() {
    for (const name of SIGNALS) process.on(name, this.#abort);
  }

  /** From now on signals end this process, and one that came does. */
  end(): void {
    for (const name of SIGNALS) process.off(name, this.#abort);
    if (this.signal.aborted) process.kill(process.pid, this.signal.reason as NodeJS.Signals);
  }
}
