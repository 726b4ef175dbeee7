import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// The layout of test/support/faults.c.
const RULES = 4;
const NAME = 32;
const RULE = NAME + 7 * 4;
const TRACED = RULES * RULE;
const TRACE = TRACED + 4;
const MOST_TRACED = 1024;

/** What happens to a call: it fails, it takes only one message, or the process gets a signal before or after it. */
export type Action = 'fail' | 'short' | 'signal before' | 'signal after';
const ACTIONS: readonly Action[] = ['fail', 'short', 'signal before', 'signal after'];

export interface Rule {
  /** As in test/support/faults.c; `'*'` is every call. */
  call: string;
  action: Action;
  /** An errno or a signal. */
  value?: number;
  /** The first of the affected calls, counted from 1. Default 1. */
  first?: number;
  /** The number of affected calls in a row, 0 for all. Default 1. */
  times?: number;
  /** Affects only calls with this descriptor. */
  fd?: number;
}

/**
 * Decides what happens to the system calls of the C core in one process. It is used in that process or in its parent.
 */
export class Faults {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'r+');
  }

  set(...rules: Rule[]): void {
    const bytes = Buffer.alloc(RULES * RULE);
    for (const [i, { call, action, value = 0, first = 1, times = 1, fd = 0 }] of rules.entries()) {
      bytes.write(call, i * RULE, 'latin1');
      const numbers = [ACTIONS.indexOf(action) + 1, value, first, times, fd];
      for (const [k, number] of numbers.entries()) bytes.writeInt32LE(number, i * RULE + NAME + k * 4);
    }
    writeSync(this.#file, bytes, 0, bytes.length, 0);
  }

  /** How many calls a rule matched, and how many it has changed. */
  count(rule = 0): { seen: number; hit: number } {
    const bytes = this.#read(rule * RULE + NAME + 20, 8);
    return { seen: bytes.readInt32LE(0), hit: bytes.readInt32LE(4) };
  }

  /** The names of the core's calls since the last `trace()`, without those of other threads. */
  trace(): string[] {
    const count = Math.min(this.#read(TRACED, 4).readInt32LE(0), MOST_TRACED);
    const names = this.#read(TRACE, count * NAME);
    writeSync(this.#file, Buffer.alloc(4), 0, 4, TRACED);
    return Array.from({ length: count }, (_, i) =>
      names.toString('latin1', i * NAME, (i + 1) * NAME).replace(/\0.*$/s, ''),
    );
  }

  close(): void {
    closeSync(this.#file);
  }

  #read(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    readSync(this.#file, bytes, 0, length, at);
    return bytes;
  }
}

/** Runs `body` with a new set of rules, and the environment that applies them to a child. */
export async function withFaults<T>(body: (faults: Faults, env: Record<string, string>) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-faults-'));
  try {
    const path = join(folder, 'rules');
    const file = openSync(path, 'w');
    writeSync(file, Buffer.alloc(TRACE + MOST_TRACED * NAME));
    closeSync(file);
    const faults = new Faults(path);
    try {
      return await body(faults, environment(path));
    } finally {
      faults.close();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const LIBRARY = fileURLToPath(new URL('../../faults.so', import.meta.url));

/** Loads the library first, so that it sees the core's calls before a sanitizer does. */
function environment(path: string): Record<string, string> {
  const { LD_PRELOAD, ASAN_OPTIONS } = process.env;
  return {
    FAULTS: path,
    LD_PRELOAD: [LIBRARY, LD_PRELOAD].filter(Boolean).join(':'),
    ...(ASAN_OPTIONS === undefined ? {} : { ASAN_OPTIONS: `${ASAN_OPTIONS}:verify_asan_link_order=0` }),
  };
}

/** The number of an errno, even if Node has no constant for it. */
export function errnoOf(name: string): number {
  const number = { ...constants.errno, ...UNNAMED }[name];
  if (number === undefined) throw new Error(`no number for ${name}`);
  return number;
}

const UNNAMED: Record<string, number> = {
  EDQUOT: 122,
  ENOTBLK: 15,
  EROFS: 30,
  ESOCKTNOSUPPORT: 94,
  ETOOMANYREFS: 109,
};
