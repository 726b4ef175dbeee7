const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;

/** Lets this process clean up before a signal ends it. */
export class Interrupt {
  readonly #stop = new AbortController();
  /** Aborted when such a signal has come. */
  readonly signal: AbortSignal = this.#stop.signal;
  readonly #abort = (name: NodeJS.Signals): void => this.#stop.abort(name);

  constructor() {
    for (const name of SIGNALS) process.on(name, this.#abort);
  }

  /** From now on signals end this process. If one has already come, it does so now. */
  end(): void {
    for (const name of SIGNALS) process.off(name, this.#abort);
    if (this.signal.aborted) process.kill(process.pid, this.signal.reason as NodeJS.Signals);
  }
}
