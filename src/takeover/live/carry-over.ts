import { trace } from '../trace.js';
import type { Carried } from './carried.js';

/** What connections leave. */
interface Left {
  leaveLive(signal: AbortSignal, alone: Promise<void>): AsyncGenerator<Carried, void>;
  drain(): void;
}

/** How connections get to the other process. */
interface Way {
  /** Resolves when the other process has it, and rejects when it never will. */
  send(carried: Carried): Promise<void>;
  /** It belongs to the other process. `late` is to be sent first. */
  release(carried: Carried, late: Buffer): void;
}

/** How many bytes of what the program wrote last to a client one message takes. */
const MOST_LATE = 1 << 15;

/**
 * Moves live connections, each when it can go. Those that do not move after all are asked to leave. Resolves when no
 * more can go.
 */
export async function carryOver(left: Left, signal: AbortSignal, alone: Promise<void>, way: Way): Promise<void> {
  const underWay = new Set<Promise<void>>();
  for await (const carried of left.leaveLive(signal, alone)) {
    const moving = carry(left, carried, way).finally(() => underWay.delete(moving));
    underWay.add(moving);
  }
  left.drain(); // those that are left do not move
  await Promise.all(underWay);
}

async function carry(left: Left, carried: Carried, way: Way): Promise<void> {
  try {
    await way.send(carried);
  } catch (error) {
    trace('takeover: a connection stays: %s', (error as Error).message);
    carried.kept();
    left.drain(); // this one does not move after all
    return;
  }
  way.release(carried, await carried.taken());
}

/** What the program wrote last to a client, in messages that are not too long. */
export function partsOf(late: Buffer): { late: string; more: boolean }[] {
  const count = Math.max(1, Math.ceil(late.length / MOST_LATE));
  return Array.from({ length: count }, (_, i) => {
    const bytes = late.subarray(i * MOST_LATE, (i + 1) * MOST_LATE);
    return { late: bytes.toString('base64'), more: i < count - 1 };
  });
}
