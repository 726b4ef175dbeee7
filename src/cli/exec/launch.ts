import { spawn, type ChildProcess } from 'node:child_process';
import type { Plan } from './worker.js';

/** The shell's exec keeps the pid, which LISTEN_PID must have. */
const WITH_OWN_PID = 'export LISTEN_PID=$$; exec "$@"';

/** Variables that concern only this process. */
const OWN = new Set(['NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC']);

/** Where one start is heard, and what the process of it that takes part needs. */
export interface Places {
  readonly notifySocket: string;
  readonly claim: string;
  /** Its keeper. */
  readonly keeper: string;
  /** The control path, at which the process before it serves. */
  readonly control: string;
}

/** Starts the program of the plan. */
export function launch(plan: Plan, places: Places): ChildProcess {
  const foreign = Object.entries(process.env).filter(([name]) => !OWN.has(name));
  const env = { ...Object.fromEntries(foreign), NOTIFY_SOCKET: places.notifySocket };
  return plan.takesOver ? launchHeir(plan, places, env) : launchOverSockets(plan, env);
}

/** Starts it with the sockets as its descriptors 3, 4 and so on. */
function launchOverSockets({ program, sockets }: Plan, env: NodeJS.ProcessEnv): ChildProcess {
  return spawn('/bin/sh', ['-c', WITH_OWN_PID, 'sh', ...program], {
    stdio: ['inherit', 'inherit', 'inherit', ...sockets.map(({ held }) => held.fd)],
    env: { ...env, LISTEN_FDS: `${sockets.length}`, LISTEN_FDNAMES: sockets.map(({ name }) => name).join(':') },
  });
}

/**
 * Starts a program that takes over from the one that serves, or is the first. A process that it starts may do so
 * instead.
 */
function launchHeir(
  { program, interval }: Plan,
  { claim, keeper, control }: Places,
  env: NodeJS.ProcessEnv,
): ChildProcess {
  const { NODE_OPTIONS: options = '' } = env;
  return spawn(program[0]!, program.slice(1), {
    stdio: 'inherit',
    env: {
      ...env,
      NODE_OPTIONS: `${options} --import ${import.meta.resolve('fdpasser/takeover/register')}`.trimStart(),
      FDPASSER_TAKEOVER: control,
      FDPASSER_TAKEOVER_CLAIM: claim,
      FDPASSER_TAKEOVER_KEEPER: keeper,
      FDPASSER_TAKEOVER_PROBATION: `${Math.round(interval)}`,
    },
  });
}
