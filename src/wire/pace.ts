/** Limits how much a link does before others have their turn. */

/**
 * Milliseconds that a link may send, or receive, in one turn of the event loop, so that a fast peer does not delay the
 * others for long.
 */
export const TURN = 0.5;

// Milliseconds that one receive should take at most. Code that is not compiled yet takes ten times as long as later. So
// the time that the last receive took decides how much the next one may bring.
const CALL = 0.25;
const FEWEST = 4;
const MOST = 1024;

/** About how many descriptors the first receive of a link may bring. */
export const FIRST_PACE = FEWEST;

/**
 * About how many descriptors the next receive may bring. `time` is how long the last one took, together with what its
 * owner did; `all` says that it brought as many messages as it could.
 */
export function nextPace(pace: number, time: number, all: boolean): number {
  if (time > CALL) return Math.max(FEWEST, pace / 2);
  return all && time < CALL / 2 ? Math.min(MOST, pace * 2) : pace;
}

/** Milliseconds since some moment in the past. Not from `performance`, which takes a millisecond to load. */
export function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
