/** A subcommand: each file of `commands/` exports this. */
export interface Command {
  /** All that `--help` prints. */
  readonly help: string;
  /** Resolves with the exit code. `cli.ts` reports what it rejects with. */
  run(args: readonly string[]): Promise<number>;
  /** The exit code of errors of the subcommand itself, which must differ from those of the program that it runs. */
  readonly failure?: number;
}

/** The exit codes of a subcommand that runs no other program. */
export const OK = 0;
export const FAILED = 1;
export const MISUSED = 2;

/** The command line is wrong. */
export class Misuse extends Error {}

/** The request cannot be fulfilled, for a reason outside this program. */
export class Failure extends Error {}

/** The arguments before `--`, and the program after it. */
export function splitProgram(args: readonly string[]): { own: string[]; program: string[] } {
  const at = args.indexOf('--');
  return at === -1 ? { own: [...args], program: [] } : { own: args.slice(0, at), program: args.slice(at + 1) };
}

/** The only positional argument; `what` names it. */
export function onlyOne(positionals: readonly string[], what: string): string {
  if (positionals.length === 0) throw new Misuse(`${what} is missing`);
  if (positionals.length > 1) throw new Misuse(`Only ${what} is expected, but there is also "${positionals[1]}"`);
  return positionals[0]!;
}

/** The option `--name` in milliseconds, which is given in seconds. */
export function milliseconds(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (seconds * 1000 <= 0x7fff_ffff) return seconds * 1000;
  throw new Misuse(`--${name} must be a number of seconds, but is "${text}"`);
}

/** The path of a Unix socket. As in other tools, `@name` is the abstract name; `./@name` is a file. */
export function socketPath(text: string): string {
  return text.startsWith('@') ? `\0${text.slice(1)}` : text;
}
