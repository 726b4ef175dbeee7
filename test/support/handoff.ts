/** The message to the child that takes over a connection. */
export interface Takeover {
  say?: number;
  http?: boolean;
}

/** What it reports. */
export type Report = { length: number; sha256: string } | { error: string };
