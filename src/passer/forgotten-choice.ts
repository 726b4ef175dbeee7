/**
 * Nothing is sent or received on a pair before one of its sides is chosen. Where that is forgotten two processes wait
 * for each other without a word, so a process warning tells when something has waited for long, or when the process
 * becomes idle.
 */
import { sideNotChosen } from '../errors.js';

/** What waits for a choice. */
export interface Waiting {
  /** As `'2 descriptors wait to be sent'`; `undefined` when nothing does. */
  readonly waits: string | undefined;
}

/** Milliseconds. A side is usually chosen in the tick in which the child is started. */
const LONG = 2000;

/** Those of which it was told. */
const told = new WeakSet<Waiting>();
const waiting = new Map<Waiting, NodeJS.Timeout>();

/** Something waits, and the peer may be with a child. Nothing of this keeps the process alive. */
export function expectChoice(passer: Waiting): void {
  if (waiting.has(passer) || told.has(passer)) return;
  if (waiting.size === 0) process.on('beforeExit', warnAll);
  waiting.set(passer, setTimeout(() => warn(passer), LONG).unref());
}

/** A side was chosen, or the passer is closed. */
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
