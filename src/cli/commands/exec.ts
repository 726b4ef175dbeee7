import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkBeforeProgram, checkProgram, milliseconds, Misuse, splitProgram } from '../command.js';
import { Control } from '../exec/control.js';
import { Listeners } from '../exec/listeners.js';
import { openSockets } from '../exec/sockets.js';
import { StatusFile } from '../exec/status-file.js';
import { Supervisor } from '../exec/supervisor.js';
import type { Plan } from '../exec/worker.js';
import { isFromTerminal, PROGRAM_FAILURE } from '../program.js';

export const help = `usage: fdpasser exec [OPTIONS] -- CMD [ARG…]
       fdpasser exec --listen [NAME=]ADDRESS… [OPTIONS] -- CMD [ARG…]

Runs a server. SIGHUP, or "fdpasser reload", replaces it without a refused connection: the new one is started beside the
old one, which ends when the new one is up. If the new one does not get up, it is ended and the old one goes on. The pid
of exec stays the same.

CMD is an unmodified Node program, or npm or a shell that starts one: the new one takes over what the old one listens
on, and several share it. With --listen it may be in any language, and gets its sockets as descriptors 3, 4 and so on,
with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES as systemd sets them (sd_listen_fds(3), or listenFds of
fdpasser/systemd).

  --listen [NAME=]ADDRESS   PORT, HOST:PORT, a path with a /, or an abstract @NAME; may be repeated. Sockets that a
                            service manager passed come first
  --workers N               the number of processes, which share what they listen on. Default 1
  --control PATH            the socket that "fdpasser reload PATH" connects to
  --status-file FILE        a file with a line GENERATION:PID for each process that serves
  --notify                  with --listen: a program is up only when it sends READY=1 (sd_notify(3))
  --interval SECONDS        without --notify, a program that reports nothing is up after this time; without --listen, a
                            program is up when it has served for this time. A crashed program is started again after
                            this time, which doubles each time that it does not get up. Default 1
  --start-timeout SECONDS   a program that is not up after this time is given up. Default 60
  --stop-timeout SECONDS    a program that still runs this long after SIGTERM is killed. Default 30

SIGTERM, SIGINT and SIGQUIT are passed on, and end exec when the program has ended; SIGUSR1 and SIGUSR2 are passed on.

exit codes: 0 the program ended with 0; 125 the first program was not up in time, or ended with 0 before it was up, or
the command line is wrong; otherwise that of the program, or 128 and the number of the signal that killed it`;

export const failure = PROGRAM_FAILURE;

const OPTIONS = {
  listen: { type: 'string', multiple: true },
  workers: { type: 'string', default: '1' },
  control: { type: 'string' },
  'status-file': { type: 'string' },
  notify: { type: 'boolean', default: false },
  interval: { type: 'string', default: '1' },
  'start-timeout': { type: 'string', default: '60' },
  'stop-timeout': { type: 'string', default: '30' },
} as const;

export async function run(args: readonly string[]): Promise<number> {
  const { own, program } = splitProgram(args);
  const { values, positionals } = parseArgs({ args: own, options: OPTIONS, allowPositionals: true });
  checkBeforeProgram(positionals);
  checkProgram(program);
  const given = {
    program,
    workers: count(values.workers),
    interval: milliseconds('interval', values.interval)!,
    startTimeout: milliseconds('start-timeout', values['start-timeout'])!,
    stopTimeout: milliseconds('stop-timeout', values['stop-timeout'])!,
  };
  const sockets = await openSockets(values.listen ?? []);
  const takesOver = sockets.length === 0;
  if (takesOver && values.notify)
    throw new Misuse('--notify is for sockets, and there are none: name one with --listen, or leave --notify out');
  const listeners = new Listeners();
  const folder = mkdtempSync(join(tmpdir(), 'fdpasser-exec-'));
  try {
    const plan = { ...given, takesOver, notify: values.notify && !takesOver, sockets, listeners, folder };
    return await supervise(plan, values.control, new StatusFile(values['status-file']));
  } finally {
    for (const { held } of sockets) held.close();
    listeners.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function count(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new Misuse(`--workers must be a whole number from 1 to 9999, and is "${text}"`);
}

async function supervise(plan: Plan, control: string | undefined, status: StatusFile): Promise<number> {
  const supervisor = new Supervisor(plan, status);
  process.on('SIGHUP', () => supervisor.reload());
  for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => supervisor.signal(signal));
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)
    process.on(signal, () => supervisor.end(isFromTerminal(signal) ? undefined : signal));
  const server = control === undefined ? undefined : new Control(control, supervisor);
  try {
    return await supervisor.run();
  } finally {
    server?.close();
    status.remove();
  }
}
