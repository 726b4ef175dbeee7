/**
 * Does one step of an ending, which goes on whatever fails in it. Nobody is left to throw to: that is a process
 * warning.
 */
export function attempt(step: () => void): void {
  try {
    step();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}
