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

/** A program that is to be run. */
export function checkProgram([name]: readonly string[]): void {
  if (name === undefined) throw new Misuse('CMD is missing: write it after --');
  if (name === '') throw new Misuse('CMD must not be empty');
}

/** No word of a program may stand before `--`. */
export function checkBeforeProgram([word]: readonly string[]): void {
  if (word !== undefined) throw new Misuse(`"${word}" stands before --. The program and its arguments come after it`);
}

/** The only positional argument; `what` names it. */
export function onlyOne(positionals: readonly string[], what: string): string {
  if (positionals.length === 0) throw new Misuse(`${what} is missing`);
  if (positionals.length > 1) throw new Misuse(`Only ${what} is expected, but there is also "${positionals[1]}"`);
  return positionals[0]!;
}

/** The longest that a timer of Node waits, in milliseconds. */
const MOST = 0x7fff_ffff;

/** The option `--name` in milliseconds, which is given in seconds. */
export function milliseconds(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (seconds * 1000 <= MOST) return seconds * 1000;
  throw new Misuse(`--${name} must be a number of seconds up to ${Math.floor(MOST / 1000)}; it is "${text}"`);
}

/** The path of a Unix socket. As in other tools, `@name` is the abstract name; `./@name` is a file. */
export function socketPath(text: string): string {
  if (text === '' || text === '@') throw new Misuse(`PATH must be a path or @NAME; it is "${text}"`);
  return text.startsWith('@') ? `\0${text.slice(1)}` : text;
}
