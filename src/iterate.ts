/**
 * An iterator over what `next` brings, until `ended`. Leaving the loop takes back a `next` that is still pending, so that
 * nothing is lost that a later one could bring.
 */
export function iterate<T>(next: (signal: AbortSignal) => Promise<T>, ended: () => boolean): AsyncIterableIterator<T> {
  const left = new AbortController();
  const done = { done: true, value: undefined } as const;
  return {
    async next() {
      if (left.signal.aborted) return done;
      try {
        return { done: false, value: await next(left.signal) };
      } catch (error) {
        if (left.signal.aborted || ended()) return done;
        throw error;
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
