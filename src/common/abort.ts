import { isNativeError } from 'node:util/types';
import { checkOptions, invalidType, type Names } from './arguments.js';
import { aborted } from '../errors.js';

export interface Abortable {
  /** Aborting rejects with an `AbortError` whose `cause` is the signal's reason. */
  signal?: AbortSignal | undefined;
}

export const ABORTABLE: Names<Abortable> = { signal: true };

/** What calls without options have. It need not be checked. */
export const NO_OPTIONS: Readonly<Record<string, never>> = Object.freeze({});

/** Throws if the value is no AbortSignal, or if it is aborted already. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  if (!isSignal(signal)) throw invalidType('options.signal', 'an AbortSignal', signal);
  if (signal.aborted) throw aborted(signal);
}

/** Looks at the members, because a signal of another realm (a `vm` context, Jest) is no instance of our AbortSignal. */
function isSignal(value: unknown): value is AbortSignal {
  return typeof value === 'object' && value !== null && 'aborted' in value && 'addEventListener' in value;
}

/**
 * Returns a promise that `options.signal` can abort. It also rejects if the options are invalid, or have a name that is
 * not in `names`. `begin` starts the work. It is given the two functions that settle the promise, and returns the
 * function that cancels the work. That one is called with the `AbortError` if the signal aborts before the promise is
 * settled.
 */
export function abortable<T, Options extends Abortable>(
  options: Options,
  names: Names<Options>,
  begin: (resolve: (value: T) => void, reject: (error: Error) => void) => (error: Error) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    try {
      const signal = options === NO_OPTIONS ? undefined : signalIn(options, names);
      if (signal === undefined) {
        begin(resolve, reject);
        return;
      }
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
      // `begin` may run code of the caller's, which may abort the signal.
      if (signal?.aborted) cancel(aborted(signal));
    } catch (error) {
      // A stack trace keeps few frames, so this one begins at the caller. An error without a code was thrown by the
      // caller's own code (a toJSON, say), and stays as it is.
      if (isNativeError(error) && 'code' in error) Error.captureStackTrace(error, abortable);
      throw error;
    }
  });
}

function signalIn<Options extends Abortable>(options: Options, names: Names<Options>): AbortSignal | undefined {
  if (isSignal(options)) throw invalidType('options', 'an object with the signal', options);
  return checkOptions(options, names).signal;
}

/**
 * The functions that each signal calls when it aborts. A signal gets one listener, because Node warns of more than ten.
 */
const cancels = new WeakMap<AbortSignal, Set<(error: Error) => void>>();

/** Calls `cancel` with the `AbortError` when the signal aborts. The function returned ends this. */
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
