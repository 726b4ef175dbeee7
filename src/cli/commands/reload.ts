import { parseArgs } from 'node:util';
import { OK, onlyOne } from '../command.js';
import { askReload } from '../exec/control.js';

export const help = `usage: fdpasser reload PATH

Has the program replaced that "fdpasser exec --control PATH" runs. It ends when the new one serves and the old one has
ended, and tells what goes on meanwhile.

  PATH   what --control names; @NAME is an abstract name

exit codes: 0 the new program serves; 1 it does not, and the old one serves on; 2 the command line is wrong`;

export async function run(args: readonly string[]): Promise<number> {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true });
  await askReload(onlyOne(positionals, 'PATH'), (text) => console.log(`${text}.`));
  return OK;
}
