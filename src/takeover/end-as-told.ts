/** How long a program has to end after its SIGTERM handler was called. Milliseconds. */
const GRACE = 30_000;

/** Ends a program that knows nothing of it, as it expects: by its own handler of SIGTERM if it has one. */
export function endAsTold(): void {
  if (process.listenerCount('SIGTERM') === 0) process.exit(0);
  const coming = setTimeout(() => {}, 1000); // nothing else may keep this process until the signal has come
  process.prependOnceListener('SIGTERM', () => clearTimeout(coming));
  process.kill(process.pid, 'SIGTERM');
  setTimeout(() => process.exit(0), GRACE).unref();
}
