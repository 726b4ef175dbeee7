/** Tells two processes to listen on a path at the same moment of the clock that all processes share. */
export interface Race {
  path: string;
  /** Of `process.hrtime.bigint()`. */
  at: string;
}
