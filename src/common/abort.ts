import { isNativeError } from 'node:util/types';
import { checkOptions, invalidType, type Names } from './arguments.js';
import { aborted } from '../errors.js';

export interface Abortable {
  /** Aborting rejects with an `AbortError` whose `cause` is the signal's reason. */
  signal?: AbortSignal | undefined;
}

export const ABORTABLE: Names<Abortable> = { signal: true };

/** Throws when the signal is none, or was aborted already. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  if (!isSignal(signal)) throw invalidType('options.signal', 'an AbortSignal', signal);
  if (signal.aborted) throw aborted(signal);
}

/** One of another realm (a `vm` context, Jest) is no instance of this one's class. */
function isSignal(value: unknown): value is AbortSignal {
  return typeof value === 'object' && value !== null && 'aborted' in value && 'addEventListener' in value;
}

/**
 * A promise that `options.signal` can abort; it rejects with whatever is wrong with the options, too. `begin` is given
 * what settles it, for later, and returns what is called with the `AbortError` when the signal aborts before that.
 */
export function abortable<T>(
  options: Abortable,
  begin: (resolve: (value: T) => void, reject: (error: Error) => void) => (error: Error) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    try {
      if (isSignal(options)) throw invalidType('options', 'an object with the signal', options);
      const { signal } = checkOptions(options);
      checkSignal(signal);
      let settled = false;
      let stop = (): void => {
        settled = true;
      };
      const cancel = begin(
        (value) => {
          stop();
          resolve(value);
        },
        (error) => {
          stop();
          reject(error);
        },
      );
      if (settled) return;
      stop = onAbort(signal, cancel);
      if (signal?.aborted) cancel(aborted(signal)); // by code of the caller's, which `begin` ran
    } catch (error) {
      // Its frames are few, and the caller's should be among them. What a value's own code threw, a toJSON say, stays
      // as it is.
      if (isNativeError(error) && 'code' in error) Error.captureStackTrace(error, abortable);
      throw error;
    }
  });
}

/** Whom each signal cancels. It has one listener, since Node warns of more than ten. */
const cancels = new WeakMap<AbortSignal, Set<(error: Error) => void>>();

/** Calls `cancel` with the `AbortError` when the signal aborts, until the function it returns is called. */
export function onAbort(signal: AbortSignal | undefined, cancel: (error: Error) => void): () => void {
  if (signal === undefined) return () => {};
  const waiting = cancels.get(signal) ?? listenTo(signal);
  waiting.add(cancel);
  return () => waiting.delete(cancel);
}

function listenTo(signal: AbortSignal): Set<(error: Error) => void> {
  const waiting = new Set<(error: Error) => void>();
  cancels.set(signal, waiting);
  signal.addEventListener('abort', () => waiting.forEach((cancel) => cancel(aborted(signal))), { once: true });
  return waiting;
}
