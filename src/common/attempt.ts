/**
 * Does one step of closing something. The next steps must be done even if this one fails, and there is no caller to
 * throw to. So an error becomes a process warning.
 */
export function attempt(step: () => void): void {
  try {
    step();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}
