/** How much a link does before others have their turn. */

/**
 * Milliseconds. How long a link may send, or receive, in one turn of the event loop, so that a fast peer starves
 * nobody.
 */
export const TURN = 0.5;

// Milliseconds. How long one receive should take at most. Code that is not compiled yet takes ten times as long as
// later, so what one receive may bring follows from how long the last one took.
const CALL = 0.25;
const FEWEST = 4;
const MOST = 1024;

/** How many descriptors, about, the first receive of a link may bring. */
export const FIRST_PACE = FEWEST;

/**
 * How many the next may bring, after one that took so long with what its owner did; `all`: it brought as many as it
 * could.
 */
export function nextPace(pace: number, time: number, all: boolean): number {
  if (time > CALL) return Math.max(FEWEST, pace / 2);
  return all && time < CALL / 2 ? Math.min(MOST, pace * 2) : pace;
}

/** Milliseconds since some moment. What `performance` is takes a millisecond to load. */
export function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
