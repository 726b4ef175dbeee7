import { constants, openSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { checked } from '../../errors.js';
import { FdChannel } from '../../index.js';
import { addon } from '../../native/load.js';
import { Failure, milliseconds, Misuse, OK, socketPath, splitProgram } from '../command.js';
import { checkInherited } from '../inherited.js';

export const help = `usage: fdpasser send [--timeout SECONDS] PATH FILE|-FD…

Passes files, and descriptors that the shell has open, to "fdpasser recv", or to an FdChannel, that listens at PATH. All
go in one message. It ends when the receiver has taken them.

  PATH                a Unix socket; @NAME is an abstract name
  FILE                is opened for reading
  -FD                 descriptor FD of the shell: -0 is standard input; -3 is what "3>>log" opened
  --timeout SECONDS   the longest wait for a listener, and for it to take the message. Without it, send fails at once
                      when nobody listens, and waits without limit for a receiver that does

exit codes: 0 the receiver has taken all; 1 they were not taken; 2 the command line is wrong`;

/** Milliseconds between two attempts to reach a listener. */
const PAUSE = 50;

export async function run(args: readonly string[]): Promise<number> {
  const { path, what, timeout } = parse(args);
  const fds = what.map(({ fd, name }) => fd ?? open(name));
  const late = timeout === undefined ? undefined : AbortSignal.timeout(timeout);
  const channel = await connect(path, late);
  late?.addEventListener('abort', () => channel.destroy(), { once: true });
  try {
    const names = what.map(({ name }) => name);
    await channel.send(names, fds, { keepOpen: true, confirm: true });
  } catch (error) {
    if (late?.aborted) throw new Failure(`Nobody took it within ${timeout! / 1000} s`);
    throw GONE.has((error as NodeJS.ErrnoException).code!) ? new Failure(REFUSED) : error;
  }
  await channel.close();
  return OK;
}

const GONE = new Set(['ERR_FDPASSER_CLOSED', 'EPIPE', 'ECONNRESET']);
const REFUSED =
  'The receiver ended the connection and took nothing. It accepts only its own user, and only one message';

interface Item {
  /** As given on the command line. */
  readonly name: string;
  /** The shell's descriptor. */
  readonly fd?: number;
}

function parse(args: readonly string[]): { path: string; what: Item[]; timeout: number | undefined } {
  const { own, program: files } = splitProgram(args);
  // The parser takes -3 for an option. No argument can begin with a NUL, so a NUL marks a descriptor.
  const marked = own.map((arg) => (/^-\d+$/.test(arg) ? `\0${arg}` : arg));
  const options = { timeout: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ args: marked, options, allowPositionals: true });
  const [path, ...what] = [...positionals.map(itemOf), ...files.map((name): Item => ({ name }))];
  if (path === undefined || path.fd !== undefined) throw new Misuse('PATH is missing');
  if (what.length === 0) throw new Misuse('There is nothing to send: name a FILE, or -FD');
  return { path: path.name, what, timeout: milliseconds('timeout', values.timeout?.replace('\0', '')) };
}

function itemOf(text: string): Item {
  if (!text.startsWith('\0')) return { name: text };
  const name = text.slice(1);
  const fd = Number(name.slice(1));
  checkInherited(fd);
  return { name, fd };
}

/** Opens without waiting for the writer of a fifo. Whoever gets the descriptor waits for input as usual. */
function open(name: string): number {
  const fd = openSync(name, constants.O_RDONLY | constants.O_NONBLOCK);
  checked(addon.setBlocking(fd), 'fcntl');
  return fd;
}

/** Waits for a listener until `late` is aborted. */
async function connect(path: string, late: AbortSignal | undefined): Promise<FdChannel> {
  for (;;) {
    try {
      return await FdChannel.connect(socketPath(path), late === undefined ? {} : { signal: late });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (late === undefined || (code !== 'ENOENT' && code !== 'ECONNREFUSED')) throw error;
      await setTimeout(PAUSE);
      if (late.aborted) throw error;
    }
  }
}
