/**
 * An iterator over what `next` brings, until `ended`. Where `failure` tells what broke the source, it throws that,
 * whatever `next` says of a source that is closed. Leaving the loop takes back a `next` that is still pending, so that
 * nothing is lost that a later one could bring.
 */
export function iterate<T>(
  next: (signal: AbortSignal) => Promise<T>,
  ended: () => boolean,
  failure: () => Error | undefined = () => undefined,
): AsyncIterableIterator<T> {
  const left = new AbortController();
  const done = { done: true, value: undefined } as const;
  return {
    async next() {
      if (left.signal.aborted) return done;
      try {
        return { done: false, value: await next(left.signal) };
      } catch (error) {
        if (left.signal.aborted || ended()) return done;
        throw failure() ?? error;
      }
    },
    async return() {
      left.abort();
      return done;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
