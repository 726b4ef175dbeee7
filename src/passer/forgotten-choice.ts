/**
 * Warns if a program forgets to choose a side of a pair. Before that nothing is sent or received, so two processes
 * would silently wait for each other. A process warning comes when something has waited for long, or when the process
 * becomes idle.
 */
import { sideNotChosen } from '../errors.js';

/** A passer whose side is not chosen yet. */
export interface Waiting {
  /** What waits, as `'2 descriptors wait to be sent'`. `undefined` if nothing does. */
  readonly waits: string | undefined;
}

/** Milliseconds until the warning. A side is usually chosen in the tick in which the child is started. */
const LONG = 2000;

/** The passers for which there was a warning. */
const told = new WeakSet<Waiting>();
const waiting = new Map<Waiting, NodeJS.Timeout>();

/** To be called when something waits, and a child may have the peer. This does not keep the process alive. */
export function expectChoice(passer: Waiting): void {
  if (waiting.has(passer) || told.has(passer)) return;
  if (waiting.size === 0) process.on('beforeExit', warnAll);
  waiting.set(passer, setTimeout(() => warn(passer), LONG).unref());
}

/** To be called when a side was chosen, or the passer is closed. */
export function expectNoChoice(passer: Waiting): void {
  const timer = waiting.get(passer);
  if (timer === undefined) return;
  clearTimeout(timer);
  waiting.delete(passer);
  if (waiting.size === 0) process.off('beforeExit', warnAll);
}

function warnAll(): void {
  for (const passer of waiting.keys()) warn(passer);
}

function warn(passer: Waiting): void {
  expectNoChoice(passer);
  const { waits } = passer;
  if (waits === undefined) return;
  told.add(passer);
  process.emitWarning(sideNotChosen(waits), 'FdPasserWarning');
}
