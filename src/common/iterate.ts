/**
 * An iterator over what `next` brings. If `next` fails, the iterator ends when `ended` returns true, and otherwise
 * throws the error that `failure` returns, or that of `next` if there is none. When the loop is left, a pending `next`
 * is aborted, so that what it would have taken is left for a later one.
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
