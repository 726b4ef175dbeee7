#!/usr/bin/env node
/** `fdpasser`: chooses the subcommand, and says what went wrong in one sentence. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FAILED, Misuse, MISUSED, OK, type Command } from './command.js';

/** Each is loaded when it is asked for: `build` must work where the core does not load. */
const COMMANDS: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  build: {
    summary: 'compile the C core of the installed package for this system',
    load: () => import('./commands/build.js'),
  },
};

const HELP = `usage: fdpasser COMMAND …

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}

"fdpasser COMMAND --help" says more of each, and docs/command.md says all.`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  try {
    if (name === undefined || name.startsWith('-')) return about(args);
    const command = await commandOf(name);
    if (!asksForHelp(rest)) return await command.run(rest);
    console.log(command.help);
    return OK;
  } catch (error) {
    return failed(error, name);
  }
}

/** Without a subcommand. */
function about(args: readonly string[]): number {
  const options = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } } as const;
  const { values } = parseArgs({ args: [...args], options });
  if (values.version) console.log(version());
  else if (values.help) console.log(HELP);
  else {
    console.error(HELP);
    return MISUSED;
  }
  return OK;
}

function version(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

async function commandOf(name: string): Promise<Command> {
  if (!Object.hasOwn(COMMANDS, name))
    throw new Misuse(`There is no command "${name}". There are ${Object.keys(COMMANDS).join(', ')}`);
  return COMMANDS[name]!.load();
}

/** What follows `--` is for another program. */
function asksForHelp(args: readonly string[]): boolean {
  const own = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  return own.includes('--help') || own.includes('-h');
}

function failed(error: unknown, name: string | undefined): number {
  if (!(error instanceof Error)) throw error;
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof Misuse || code?.startsWith('ERR_PARSE_ARGS_')) {
    const known = name !== undefined && Object.hasOwn(COMMANDS, name);
    console.error(`fdpasser: ${error.message}.\nSee "fdpasser ${known ? `${name} ` : ''}--help".`);
    return MISUSED;
  }
  if (code === undefined) throw error; // of this program itself
  console.error(`fdpasser: ${error.message}.`);
  return FAILED;
}
