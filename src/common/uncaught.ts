/** Runs code of the program's, such as listeners. What it throws is uncaught, and keeps the caller from nothing. */
export function uncaught(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
