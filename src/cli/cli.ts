#!/usr/bin/env node
/** `fdpasser`: chooses the subcommand, and reports an error in one sentence. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FAILED, Failure, Misuse, MISUSED, OK, splitProgram, type Command } from './command.js';

/** Each is loaded on demand, because `build` must work where the core does not load. */
const COMMANDS: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  send: { summary: 'pass files and open descriptors to another process', load: () => import('./commands/send.js') },
  recv: { summary: 'receive them, and run a program with them', load: () => import('./commands/recv.js') },
  exec: {
    summary: 'run a server that is replaced without a refused connection',
    load: () => import('./commands/exec.js'),
  },
  reload: { summary: 'have it replaced', load: () => import('./commands/reload.js') },
  inspect: { summary: 'show what a process has open, or who listens', load: () => import('./commands/inspect.js') },
  build: { summary: 'compile the C core of the package for this system', load: () => import('./commands/build.js') },
};

const HELP = `usage: fdpasser COMMAND …

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}

"fdpasser COMMAND --help" shows the options of each; docs/command.md has the details.`;

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return; // nobody reads it
  console.error(`fdpasser: The output cannot be written: ${error.message}.`);
  process.once('exit', () => (process.exitCode = FAILED));
});
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  let command: Command | undefined;
  try {
    if (name === undefined || name.startsWith('-')) return about(args);
    command = await commandOf(name);
    if (!asksForHelp(rest)) return await command.run(rest);
    console.log(command.help);
    return OK;
  } catch (error) {
    const code = tell(error, command === undefined ? '' : `${name} `);
    return command?.failure ?? code;
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
  if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name]!.load();
  throw new Misuse(`There is no command "${name}". There are ${Object.keys(COMMANDS).join(', ')}`);
}

function asksForHelp(args: readonly string[]): boolean {
  const { own } = splitProgram(args);
  return own.includes('--help') || own.includes('-h');
}

/** Reports the error, and returns the exit code. */
function tell(error: unknown, command: string): number {
  const { message: text, code } = error as NodeJS.ErrnoException;
  // Behind that Node explains how to name a file that begins with "-".
  const message = code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' ? text.replace(/\. .*/s, '') : text;
  if (error instanceof Misuse || code?.startsWith('ERR_PARSE_ARGS_')) {
    console.error(`fdpasser: ${sentence(message)}\nSee "fdpasser ${command}--help".`);
    return MISUSED;
  }
  // An error without a code is a fault of this program itself, and its stack is needed.
  if (code === undefined && !(error instanceof Failure)) throw error;
  console.error(`fdpasser: ${sentence(message)}`);
  return FAILED;
}

function sentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}
