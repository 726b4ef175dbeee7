/** What each subcommand is: a file of `commands/` that exports `help` and `run`. */
export interface Command {
  /** All that `--help` prints. */
  readonly help: string;
  /** Resolves with the exit code. What it rejects with is told by `cli.ts`. */
  run(args: readonly string[]): Promise<number>;
}

/** The exit codes that every subcommand has. Those that run a program end as it does. */
export const OK = 0;
export const FAILED = 1;
export const MISUSED = 2;

/** The command line is wrong. */
export class Misuse extends Error {}
