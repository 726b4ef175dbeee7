import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** Milliseconds until a write that failed is tried again. */
const RETRY = 1000;

/** A file that tells scripts which processes serve: a line `GENERATION:PID` for each, as Server::Starter writes it. */
export class StatusFile {
  readonly #path: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #written = false;

  constructor(path: string | undefined) {
    this.#path = path;
  }

  /**
   * A reader finds either the old lines or the new ones. A write that fails is tried again until it succeeds, or other
   * lines are to be written. `failed` gets the error of the first try.
   */
  write(generation: number, pids: readonly number[], failed: (error: Error) => void): void {
    clearTimeout(this.#retry);
    if (this.#path === undefined) return;
    try {
      this.#replace(this.#path, pids.map((pid) => `${generation}:${pid}\n`).join(''));
    } catch (error) {
      failed(error as Error);
      this.#retry = setTimeout(() => this.write(generation, pids, () => {}), RETRY).unref();
    }
  }

  remove(): void {
    clearTimeout(this.#retry);
    if (this.#written) rmSync(this.#path!, { force: true });
  }

  #replace(path: string, lines: string): void {
    const unfinished = `${path}.${process.pid}`;
    try {
      writeFileSync(unfinished, lines);
      renameSync(unfinished, path);
      this.#written = true;
    } finally {
      rmSync(unfinished, { force: true });
    }
  }
}
