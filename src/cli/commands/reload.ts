import { parseArgs } from 'node:util';
import { milliseconds, OK, onlyOne } from '../command.js';
import { askReload } from '../exec/control.js';

export const help = `usage: fdpasser reload [--timeout SECONDS] PATH

Replaces the program that "fdpasser exec --control PATH" runs, and prints the progress. It ends when the new program
serves and the old one has ended.

  PATH                what --control names; @NAME is an abstract name
  --timeout SECONDS   give up when exec itself gives no sign of life for so long: it may be stopped. Default 10

exit codes: 0 the new program serves; 1 it does not, and the old one goes on, or exec does not answer; 2 the command
line is wrong`;

export async function run(args: readonly string[]): Promise<number> {
  const options = { timeout: { type: 'string', default: '10' } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const timeout = milliseconds('timeout', values.timeout)!;
  await askReload(onlyOne(positionals, 'PATH'), timeout, (text) => console.log(`${text}.`));
  return OK;
}
