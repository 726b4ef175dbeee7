import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { ended, type Ended } from './child.js';
import { Folder } from './command.js';
import { until } from './descriptors.js';

/** `fdpasser exec` with a server, in a folder of its own. It is ended when it is disposed of. */
export class Service {
  readonly folder = new Folder();
  readonly child: ChildProcess;
  readonly end: Promise<Ended>;
  stderr = '';

  /** The file `behaviour` says what the server does. `prepare` makes the other files of the folder. */
  constructor(
    behaviour: string,
    options: readonly string[],
    program: readonly string[],
    prepare?: (folder: Folder) => void,
  ) {
    this.behave(behaviour);
    prepare?.(this.folder);
    const own = ['--control', 'control', '--status-file', 'status', '--interval', '0.1'];
    this.child = this.folder.start(['exec', ...own, ...options, '--', ...program]);
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.end = ended(this.child);
  }

  behave(behaviour: string): void {
    writeFileSync(this.folder.at('behaviour'), behaviour);
  }

  /** `GENERATION:PID` of each process that serves. */
  get status(): string[] {
    const file = this.folder.at('status');
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  }

  async up(generation: number, workers = 1): Promise<void> {
    await until(() => {
      const { status } = this; // it may change from one look to the next
      return status.length === workers && status.every((line) => line.startsWith(`${generation}:`));
    });
  }

  reload(): Promise<Ended> {
    return ended(this.folder.start(['reload', 'control']));
  }

  /** Waits until the text comes on standard error, as often as `times`. */
  async says(text: RegExp, times = 1): Promise<void> {
    await until(() => (this.stderr.match(new RegExp(text, 'g'))?.length ?? 0) >= times);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGTERM');
    await this.end;
    this.folder[Symbol.dispose]();
  }
}
