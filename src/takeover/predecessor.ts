import { OwnedFd } from '../descriptor/owned-fd.js';
import { takenBack, takeoverProtocol } from '../errors.js';
import type { WithSuccessor } from './control.js';
import { VERSION, type Entry, type FromSuccessor, type Step } from './messages.js';
import type { Settings } from './options.js';

/** A listener whose live connections the successor takes: those of these kinds, or all. */
export interface LiveTaken {
  readonly name: string;
  readonly kinds: readonly string[] | undefined;
}

/** What the old process has to hand over. */
export interface Estate {
  /** Returns the listeners, and another descriptor of each. */
  inventory(): { listeners: Entry[]; sockets: OwnedFd[] };
  /** Stops accepting, for now. */
  pause(): void;
  /** Accepts again. */
  resume(): void;
  /** Accepts nobody any more at the control path. Returns another descriptor of its listener. */
  releaseControl(): OwnedFd;
}

/**
 * The part of the old process, from MANIFEST until the successor has everything. This process decides: until the
 * successor has taken CONFIRMED, any failure ends with ROLLBACK, and this process serves as before.
 *
 * Resolves with the listeners whose live connections the successor takes. Rejects with the error. The conversation then
 * goes on until the other process ends it: an end without a ROLLBACK would mean that this process had died.
 */
export async function handOver(successor: WithSuccessor, estate: Estate, settings: Settings): Promise<LiveTaken[]> {
  const { stepTimeout, initTimeout, drainTimeout } = settings;
  try {
    const { listeners, sockets } = estate.inventory();
    const manifest = { type: 'manifest', version: VERSION, pid: process.pid, listeners } as const;
    await successor.deliver(manifest, sockets, stepTimeout);
    await answer(successor, 'ready', initTimeout);
    estate.pause();
    await successor.deliver({ type: 'commit' }, [], stepTimeout);
    const { probation } = await answer(successor, 'serving', stepTimeout);
    const { live, kinds } = await answer(successor, 'confirm', probation === null ? Infinity : probation + stepTimeout);
    await successor.deliver({ type: 'confirmed', drainTimeout }, [estate.releaseControl()], stepTimeout);
    return live.map((name, index) => ({ name, kinds: kinds?.[index] }));
  } catch (error) {
    successor.say({ type: 'rollback', reason: (error as Error).message });
    estate.resume();
    throw error;
  }
}

type Answer<T> = Extract<FromSuccessor, { type: T }>;

/** Waits for the successor's next message, which must be of this type. */
export async function answer<T extends FromSuccessor['type']>(
  successor: WithSuccessor,
  type: T,
  timeout: number,
): Promise<Answer<T>> {
  const step = type.toUpperCase() as Step;
  const { message, fds } = await successor.hear(step, timeout);
  OwnedFd.closeAll(fds);
  if (message.type === type) return message as Answer<T>;
  if (message.type === 'abort') throw takenBack(step, successor.pid, message.reason);
  throw takeoverProtocol(step, successor.pid, `it said ${message.type.toUpperCase()}`);
}
