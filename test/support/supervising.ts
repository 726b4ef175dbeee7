import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { WorkerState } from 'fdpasser/workers';
import type { Command, Supervising } from '../workers/children/supervising.js';
import { ended, startChild, type ChildOptions, type Ended } from './child.js';
import { cert, key } from './certificate.js';
import type { Crowd, Where } from './crowd.js';
import { until } from './descriptors.js';

const PROGRAMS = fileURLToPath(new URL('../../../test/takeover/programs', import.meta.url));

/** What it has told by itself. */
export interface Told {
  event: 'worker' | 'exit' | 'replaced' | 'error' | 'listening';
  worker?: WorkerState;
  exit?: { code: number | null; signal: string | null };
  message?: string;
  at?: { port: number };
}

/** A process with a supervisor. */
export class SupervisorProcess {
  readonly child: ChildProcess;
  readonly end: Promise<Ended>;
  readonly told: Told[] = [];
  #asked = new Map<number, (answer: { done?: unknown; failed?: string }) => void>();
  #over: Ended | undefined;

  constructor(plan: Supervising, options: ChildOptions = {}) {
    this.child = startChild('workers/supervising', { ...options, args: [JSON.stringify(plan)] });
    this.end = ended(this.child).then((end) => (this.#over = end));
    this.child.on('message', (said: Told & { id?: number }) => {
      if (said.id === undefined) this.told.push(said);
      else this.#asked.get(said.id)?.(said as object);
    });
  }

  async command<T>(command: Command): Promise<T> {
    const id = this.#asked.size;
    const { done, failed } = await new Promise<{ done?: unknown; failed?: string }>((resolve) => {
      this.#asked.set(id, resolve);
      this.child.send({ id, command });
    });
    if (failed !== undefined) throw new Error(failed);
    return done as T;
  }

  /** Waits until so many workers serve. */
  async ready(count: number): Promise<void> {
    await until(() => this.#over !== undefined || this.#served >= count);
    if (this.#over !== undefined) throw new Error(`it ended: ${JSON.stringify(this.#over)}`);
  }

  /** Workers that have said they are ready. */
  get #served(): number {
    return this.told.filter(({ event, worker }) => event === 'worker' && worker!.state === 'ready').length;
  }

  events(event: Told['event']): Told[] {
    return this.told.filter((each) => each.event === event);
  }

  async close(): Promise<Ended> {
    await this.command('close');
    return this.end;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#over === undefined) this.child.kill('SIGKILL');
    await this.end;
  }
}

/** The compiled `test/<folder>/children/<name>.ts`. */
export function childFile(name: string): string {
  return fileURLToPath(new URL(`../${name.replace('/', '/children/')}.js`, import.meta.url));
}

/** A program of `test/takeover/programs`, which knows nothing of workers: what `supervise` gets for it. */
export function unmodified(name: string, where: Where): Supervising {
  const args = [JSON.stringify(where)];
  return {
    file: join(PROGRAMS, name),
    options: { register: true, count: 2, patience: 60_000, args, env: { KEY: key, CERT: cert } },
  };
}

/** Each frame that a process has sent has come to its client, and its WebSockets have ended with the mark of a move. */
export function checkMoved(stdout: string, moves: number, { webSockets }: Crowd): void {
  const ends = stdout.split('\n').filter((line) => line.startsWith('{'));
  const moved = ends.map((line) => JSON.parse(line) as { client: string; code: number; sent: number; pid: number });
  assert.equal(moved.filter(({ code }) => code === 1012).length, moves);
  const wrong = moved.filter(({ client, code, sent, pid }) => {
    return code === 1012 && (webSockets[Number(client.slice(1))]!.counted.get(`${pid}`) ?? 0) !== sent;
  });
  assert.deepEqual(wrong, []);
}
