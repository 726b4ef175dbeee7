import { parseArgs } from 'node:util';
import { OK, onlyOne } from '../command.js';
import { askReload } from '../exec/control.js';

export const help = `usage: fdpasser reload PATH

Replaces the program that "fdpasser exec --control PATH" runs, and prints the progress. It ends when the new program
serves and the old one has ended.

  PATH   what --control names; @NAME is an abstract name

exit codes: 0 the new program serves; 1 it does not, and the old one goes on; 2 the command line is wrong`;

export async function run(args: readonly string[]): Promise<number> {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  await askReload(onlyOne(positionals, 'PATH'), (text) => console.log(`${text}.`));
  return OK;
}
