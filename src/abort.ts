import { aborted, invalidType } from './errors.js';

export interface Abortable {
  /** Aborting rejects with an `AbortError` whose `cause` is the signal's reason. */
  signal?: AbortSignal;
}

/** Throws when the signal is none, or was aborted already. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  if (!(signal instanceof AbortSignal)) throw invalidType('options.signal', 'an AbortSignal', signal);
  if (signal.aborted) throw aborted(signal);
}

/** Calls `cancel` with the `AbortError` when the signal aborts, until the function it returns is called. */
export function onAbort(signal: AbortSignal | undefined, cancel: (error: Error) => void): () => void {
  if (signal === undefined) return () => {};
  const listener = (): void => cancel(aborted(signal));
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}
