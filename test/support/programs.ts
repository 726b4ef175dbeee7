import { spawn, type ChildProcess } from 'node:child_process';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cert, key } from './certificate.js';
import { ended, type Ended } from './child.js';
import type { Where } from './crowd.js';
import { until } from './descriptors.js';

const root = (name: string): string => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const PROGRAMS = root('test/takeover/programs');
const REGISTER = root('dist/bundle/takeover-register.js');

export interface ProgramOptions {
  where: Where;
  /** The control path, for a program that is replaced by a takeover. */
  control?: string;
}

/** A running program of `test/takeover/programs`, which is not written for takeover. */
export class Program {
  readonly child: ChildProcess;
  readonly end: Promise<Ended>;
  #said = '';
  #over = false;

  /** Without a control path it takes no part in takeovers, and closes its servers at SIGTERM. */
  constructor(name: string, { where, control }: ProgramOptions) {
    const flags = control === undefined ? ['--require', join(PROGRAMS, 'naive.cjs')] : ['--import', REGISTER];
    const taken = control === undefined ? {} : { FDPASSER_TAKEOVER: control, FDPASSER_TAKEOVER_PROBATION: '200' };
    const env = { ...process.env, ...taken, KEY: key, CERT: cert };
    this.child = spawn(process.execPath, ['--expose-gc', ...flags, join(PROGRAMS, name), JSON.stringify(where)], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout!.on('data', (text: unknown) => (this.#said += String(text)));
    this.end = ended(this.child);
    void this.end.then(() => (this.#over = true));
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Waits for the end of a process that drains. It must come long before the 30 s after which it would be forced. */
  async drained(): Promise<Ended> {
    await until(() => this.#over, 20_000);
    return this.end;
  }

  /** Waits until it has printed this word, and fails if it ends before. */
  async says(word: 'listens' | 'closes'): Promise<void> {
    await until(() => this.#said.includes(word) || this.#over);
    if (!this.#said.includes(word)) assert.fail(`it did not say '${word}': ${(await this.end).stderr}`);
  }
}

/** Runs `body` with a function that starts programs. None of them outlives it. */
export async function withPrograms(body: (start: typeof startProgram) => Promise<void>): Promise<void> {
  const started: Program[] = [];
  try {
    await body((name, options) => {
      const program = startProgram(name, options);
      started.push(program);
      return program;
    });
  } finally {
    for (const { child } of started) child.kill('SIGKILL');
    await Promise.all(started.map(({ end }) => end));
  }
}

function startProgram(name: string, options: ProgramOptions): Program {
  return new Program(name, options);
}
