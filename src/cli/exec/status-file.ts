import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** A file that tells scripts which processes serve: a line `GENERATION:PID` for each, as Server::Starter writes it. */
export class StatusFile {
  readonly #path: string | undefined;
  #written = false;

  constructor(path: string | undefined) {
    this.#path = path;
  }

  /** A reader finds either the old lines or the new ones. */
  write(generation: number, pids: readonly number[]): void {
    if (this.#path === undefined) return;
    const unfinished = `${this.#path}.${process.pid}`;
    try {
      writeFileSync(unfinished, pids.map((pid) => `${generation}:${pid}\n`).join(''));
      renameSync(unfinished, this.#path);
      this.#written = true;
    } finally {
      rmSync(unfinished, { force: true });
    }
  }

  remove(): void {
    if (this.#written) rmSync(this.#path!, { force: true });
  }
}
