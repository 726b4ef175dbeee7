import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { command, Folder } from '../support/command.js';
import { test, testInFull } from '../support/test.js';

const NAMES = readdirSync(fileURLToPath(new URL('../../../src/cli/commands', import.meta.url)))
  .map((file) => file.replace(/\.ts$/, ''))
  .toSorted();

/** Subcommands that run a program. Their own exit codes must differ from the program's. */
const RUNNING = new Set<string | undefined>(['exec', 'recv']);

test('the help of the command names every subcommand, and each subcommand has help of its own', async () => {
  const { code, stdout, stderr } = await command(['--help']);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  const listed = [...stdout.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name!);
  assert.deepEqual(listed.toSorted(), NAMES);
  for (const name of NAMES) {
    const help = await command([name, '--help']);
    assert.deepEqual({ code: help.code, stderr: help.stderr }, { code: 0, stderr: '' });
    assert.match(help.stdout, new RegExp(`^usage: fdpasser ${name}\\b[^]*^exit codes: 0 `, 'm'));
  }
});

for (const [args, says] of [
  [[], /^usage: fdpasser COMMAND/],
  [['nonesuch'], /^fdpasser: There is no command "nonesuch"\. There are .*\bbuild\b.*\nSee "fdpasser --help"\.\n$/],
  [['__proto__'], /^fdpasser: There is no command "__proto__"/],
  [['--nonesuch'], /^fdpasser: Unknown option '--nonesuch'\.\nSee "fdpasser --help"\.\n$/],
  [['send', '', '-0'], /^fdpasser: PATH must be a path or @NAME; it is ""\./],
  [['reload', '@'], /^fdpasser: PATH must be a path or @NAME; it is "@"\./],
  [['send', '--timeout', '1e3', 'path', '-0'], /^fdpasser: --timeout must be a number of seconds up to 2147483; /],
  [['send', '--timeout', '-1', 'path', '-0'], /^fdpasser: --timeout must be a number .*; it is "-1"\.\n/],
  [['exec', '--notify', '--', 'true'], /^fdpasser: --notify is for sockets, and there are none: .*--listen/],
  [['recv', 'path', '--', ''], /^fdpasser: CMD must not be empty\./],
  [['exec', '--control', 'path', 'node', 'app.js'], /^fdpasser: "node" stands before --\. The program /],
  [['recv', 'path', 'cat'], /^fdpasser: "cat" stands before --\. The program /],
  [['exec', '--', ''], /^fdpasser: CMD must not be empty\./],
  ...NAMES.map((name) => [
    [name, '--nonesuch'],
    new RegExp(`^fdpasser: Unknown option '--nonesuch'\\.\nSee "fdpasser ${name} --help"\\.\n$`),
  ]),
] as [string[], RegExp][])
  test(`the command line "${['fdpasser', ...args].join(' ')}" is reported as wrong, without a stack trace`, async () => {
    const { code, stdout, stderr } = await command(args);
    assert.deepEqual({ code, stdout }, { code: RUNNING.has(args[0]) ? 125 : 2, stdout: '' });
    assert.match(stderr, says);
  });

testInFull('what cannot be written fails the command, and what nobody reads does not', async () => {
  using folder = new Folder();
  for (const args of ['--help', 'send --help', 'inspect $$'])
    assert.deepEqual(await folder.shell(`fdpasser ${args} > /dev/full; echo "ended with $?"`), {
      code: 0,
      signal: null,
      stdout: 'fdpasser: The output cannot be written: ENOSPC: no space left on device, write.\nended with 1\n',
      stderr: '',
    });
  // Without the guard: bash closes numbers of its own that are not open.
  const piped = `env -u LD_PRELOAD bash -c 'fdpasser inspect $$ | true; echo "ended with \${PIPESTATUS[0]}"'`;
  const { stdout } = await folder.shell(piped);
  assert.equal(stdout, 'ended with 0\n');
});
