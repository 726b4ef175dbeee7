/** The longest that a timer of Node waits, in milliseconds. */
export const LONGEST_DELAY = 0x7fff_ffff;

/**
 * Calls back when the event loop has looked twice for what can be read. A busy loop calls timers before it reads what
 * has been there for long, so a timer that waits for something asks by this whether it has come. Twice, because the
 * thread poller delivers what it has found one turn later.
 */
export function afterReading(callback: () => void): void {
  setImmediate(() => setImmediate(callback));
}
