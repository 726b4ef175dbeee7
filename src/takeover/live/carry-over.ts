import { trace } from '../trace.js';
import type { Carried } from './carried.js';
import { Turns } from './turns.js';

/** What connections leave. */
interface Left {
  leaveLive(signal: AbortSignal, alone: Promise<void>, kinds?: readonly string[]): AsyncGenerator<Carried, void>;
  drain(): void;
}

/** A connection that the other process has, and what is to be sent first there. */
export interface Released {
  readonly key: number;
  readonly late: Buffer;
}

/** How connections get to the other process. */
interface Way {
  /** How many are sent together at most. */
  readonly most: number;
  /** The kinds that the other process takes; without this, all. */
  readonly kinds?: readonly string[] | undefined;
  /** Resolves when the other process has all of them, and rejects when it will never have one. */
  send(batch: readonly Carried[]): Promise<void>;
  /** They belong to the other process. */
  release(batch: readonly Released[]): void;
}

/** How many bytes of what the program wrote last to a client one message takes. */
const MOST_LATE = 1 << 15;

/**
 * Moves live connections, each when it can go. Those that do not move after all are asked to leave. Resolves when no
 * more can go.
 */
export async function carryOver(left: Left, signal: AbortSignal, alone: Promise<void>, way: Way): Promise<void> {
  const turns = new Turns();
  const underWay = new Set<Promise<void>>();
  let batch: Carried[] = [];
  const go = (): void => {
    if (batch.length === 0) return;
    const moving = carry(left, batch, way, turns).finally(() => underWay.delete(moving));
    underWay.add(moving);
    batch = [];
  };
  for await (const carried of left.leaveLive(signal, alone, way.kinds)) {
    if (batch.push(carried) === 1) process.nextTick(() => go()); // with those that depart in the same tick
    if (batch.length === way.most) go();
  }
  go();
  left.drain(); // those that are left do not move
  await Promise.all(underWay);
}

async function carry(left: Left, batch: readonly Carried[], way: Way, turns: Turns): Promise<void> {
  try {
    await way.send(batch);
  } catch (error) {
    if (batch.length > 1) {
      await Promise.all(batch.map((carried) => carry(left, [carried], way, turns))); // it may be because of one
      return;
    }
    trace('takeover: a connection stays: %s', (error as Error).message);
    batch[0]!.kept();
    left.drain(); // this one does not move after all
    return;
  }
  await release(batch, way, turns);
}

/** Those whose programs have nothing more to say do not wait for the others. */
async function release(batch: readonly Carried[], way: Way, turns: Turns): Promise<void> {
  const now: Released[] = [];
  const later: Promise<void>[] = [];
  const go = (): void => {
    if (now.length > 0) way.release(now.splice(0));
  };
  for (const { key, taken } of batch) {
    if (turns.over) {
      go();
      await turns.next();
    }
    const late = taken();
    if (late instanceof Promise) later.push(late.then((bytes) => way.release([{ key, late: bytes }])));
    else now.push({ key, late });
  }
  go();
  await Promise.all(later);
}

/** What the program wrote last to a client, in messages that are not too long. */
export function partsOf(late: Buffer): { late: string; more: boolean }[] {
  const count = Math.max(1, Math.ceil(late.length / MOST_LATE));
  return Array.from({ length: count }, (_, i) => {
    const bytes = late.subarray(i * MOST_LATE, (i + 1) * MOST_LATE);
    return { late: bytes.toString('base64'), more: i < count - 1 };
  });
}
