import { parseArgs } from 'node:util';
import { FdChannel, listen, OwnedFd, type FdServer } from '../../index.js';
import {
  checkBeforeProgram,
  checkProgram,
  Failure,
  milliseconds,
  onlyOne,
  socketPath,
  splitProgram,
} from '../command.js';
import { Interrupt } from '../interrupt.js';
import { PROGRAM_FAILURE, runProgram } from '../program.js';

export const help = `usage: fdpasser recv [--timeout SECONDS] PATH -- CMD [ARG…]

Listens at PATH, takes the descriptors that "fdpasser send" or an FdChannel passes in one message, and runs CMD with
them as its 3, 4 and so on, in the order sent. Only processes of the same user can send. PATH is removed before CMD
runs.

  PATH                a Unix socket, made with mode 0600; @NAME is an abstract name
  CMD ARG…            in each argument {} stands for /dev/fd/3; an argument with {} is repeated for each further
                      descriptor
  --timeout SECONDS   the longest wait for a sender; without it, no limit

exit codes: 0 CMD ended with 0; 125 nothing was received, or the command line is wrong; 126 CMD cannot be run; 127 CMD
is not found; otherwise that of CMD, or 128 and the number of the signal that killed it`;

export const failure = PROGRAM_FAILURE;

/** Milliseconds that a connection may take to send a message. The next connection waits meanwhile. */
const PATIENCE = 10_000;
/** The first number after the standard streams. */
const FIRST = 3;

export async function run(args: readonly string[]): Promise<number> {
  const { own, program } = splitProgram(args);
  const options = { timeout: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ args: own, options, allowPositionals: true });
  checkBeforeProgram(positionals.slice(1));
  const path = onlyOne(positionals, 'PATH');
  checkProgram(program);
  const fds = await receive(path, milliseconds('timeout', values.timeout));
  const numbers = fds.map((_, index) => FIRST + index);
  const command = program.flatMap((arg) =>
    arg.includes('{}') ? numbers.map((fd) => arg.replaceAll('{}', `/dev/fd/${fd}`)) : [arg],
  );
  const ended = runProgram(
    command,
    fds.map(({ fd }) => fd),
  );
  OwnedFd.closeAll(fds);
  return ended;
}

/** Resolves with the descriptors of the first message that has any. */
async function receive(path: string, timeout: number | undefined): Promise<OwnedFd[]> {
  const interrupt = new Interrupt(); // before there is a path to remove
  const late = timeout === undefined ? [] : [AbortSignal.timeout(timeout)];
  const signal = AbortSignal.any([interrupt.signal, ...late]);
  let server: FdServer | undefined;
  try {
    server = listen(socketPath(path));
    for (;;) {
      const fds = await takeFrom(await server.accept({ signal }), signal);
      if (fds !== undefined) return fds;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Failure(interrupt.signal.aborted ? 'Interrupted' : `Nobody sent anything within ${timeout! / 1000} s`);
  } finally {
    server?.close();
    interrupt.end();
  }
}

/** Resolves with undefined, and reports why, when the connection brings no descriptors. */
async function takeFrom(connection: OwnedFd, signal: AbortSignal): Promise<OwnedFd[] | undefined> {
  const channel = new FdChannel(connection, { helloTimeout: PATIENCE });
  try {
    const { fds } = await channel.receive({ signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]) });
    if (fds.length === 0) throw new Failure('There were no descriptors in its message');
    await channel.close(); // by then the sender has the confirmation
    return fds;
  } catch (error) {
    channel.destroy();
    signal.throwIfAborted();
    console.error(`fdpasser: Nothing was taken from a connection. ${(error as Error).message}.`);
    return undefined;
  }
}
