import { closeSync, openSync, readSync } from 'node:fs';

const MILLISECONDS_PER_TICK = 10; // USER_HZ of proc(5) is 100 everywhere

/** For how long a main thread that was ready to run did not get a processor: that is the machine's doing. */
export class Noise {
  readonly #files = ['/proc/self/schedstat', '/proc/stat'].map((path) => openSync(path, 'r'));
  readonly #room = Buffer.alloc(256);
  #before = this.#total();

  /** Milliseconds since this was asked last. */
  sinceLast(): number {
    const before = this.#before;
    this.#before = this.#total();
    return this.#before - before;
  }

  close(): void {
    for (const fd of this.#files.splice(0)) closeSync(fd);
  }

  #total(): number {
    const [scheduler, processors] = this.#files.map((fd) =>
      this.#room.toString('latin1', 0, readSync(fd, this.#room, 0, this.#room.length, 0)).split(/\s+/),
    ) as [string[], string[]];
    const [, nanosecondsQueued] = scheduler;
    const ticksStolen = processors[8];
    return Number(nanosecondsQueued) / 1e6 + Number(ticksStolen) * MILLISECONDS_PER_TICK;
  }
}
