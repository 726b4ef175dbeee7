/** The messages at the control path, over an FdChannel. */
import { afterReading, LONGEST_DELAY } from '../../common/timers.js';
import { connect, FdChannel, listen, OwnedFd, peerCredentials, type FdServer } from '../../index.js';
import { Failure, socketPath } from '../command.js';
import type { Supervisor } from './supervisor.js';

type Request = { ask: 'reload' };
/** `here` comes first, and then again and again. The last answer is `done` or `failed`. */
type Answer = { here: true } | { progress: string } | { done: true } | { failed: string };

/** How many may be idle at a time: they have not asked yet, or have not read the last answer. */
const MOST_IDLE = 64;
/** Milliseconds from one `here` to the next. */
const BEAT = 100;

/** Answers requests of processes of the same user that connect to the control path. */
export class Control {
  readonly #supervisor: Supervisor;
  readonly #server: FdServer;
  /** The one that has been idle longest comes first. */
  readonly #idle = new Set<FdChannel<Answer>>();

  constructor(path: string, supervisor: Supervisor) {
    this.#supervisor = supervisor;
    this.#server = listen(socketPath(path));
    this.#accept().catch((error: Error) =>
      console.error(`fdpasser: The control path does not work any more: ${error.message}.`),
    );
  }

  /** Nobody who is idle keeps this process from ending. */
  close(): void {
    this.#server.close();
    for (const channel of this.#idle) channel.destroy();
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#server) {
      const channel = new FdChannel<Answer>(connection, { maxFds: 1 });
      this.#idle.add(channel);
      const [first] = this.#idle;
      if (this.#idle.size > MOST_IDLE) first!.destroy();
      void this.#attend(channel).finally(() => this.#idle.delete(channel));
    }
  }

  async #attend(channel: FdChannel<Answer>): Promise<void> {
    const tell = (answer: Answer): Promise<void> => channel.send(answer).catch(() => {}); // the asker may have gone
    void tell({ here: true });
    try {
      const { value, fds } = await channel.receive();
      OwnedFd.closeAll(fds);
      this.#idle.delete(channel);
      const last = await carriedOut(value as unknown as Request | null, this.#supervisor, tell);
      this.#idle.add(channel);
      await tell(last);
    } catch {
      // It asks nothing, or was idle for too long.
    }
    await channel.close();
  }
}

async function carriedOut(
  request: Request | null,
  supervisor: Supervisor,
  tell: (answer: Answer) => Promise<void>,
): Promise<Answer> {
  if (request?.ask !== 'reload') return { failed: 'Only "reload" is understood' };
  const beats = setInterval(() => void tell({ here: true }), BEAT);
  try {
    await supervisor.replace((progress) => void tell({ progress }));
    return { done: true };
  } catch (error) {
    return { failed: (error as Error).message };
  } finally {
    clearInterval(beats);
  }
}

/**
 * Replaces the program of `fdpasser exec` at `path`, and reports the progress. Resolves when that is done, and rejects
 * when it failed, or when there is no answer for `timeout` milliseconds.
 */
export async function askReload(path: string, timeout: number, tell: (text: string) => void): Promise<void> {
  const socket = await connect(socketPath(path), { timeout });
  const { pid } = peerCredentials(socket);
  const channel = new FdChannel<Request, Answer>(socket, { helloTimeout: LONGEST_DELAY });
  let asked = false;
  let isLate = false;
  const clock = new Clock(timeout, () => {
    isLate = true;
    channel.destroy();
  });
  try {
    for await (const { value: answer } of channel) {
      clock.heard();
      // Not before: an exec that is stopped would find the request when it goes on, though its asker has gone.
      if (!asked) void channel.send({ ask: 'reload' }).catch(() => {}); // the loop ends, too
      asked = true;
      if ('progress' in answer) tell(answer.progress);
      else if ('failed' in answer) throw new Failure(answer.failed);
      else if ('done' in answer) return await channel.close();
    }
  } finally {
    clock.stop();
  }
  if (!isLate) throw new Failure('"fdpasser exec" has ended before it was done');
  const state = asked ? 'The replacement has begun, and will be over when it goes on' : 'Nothing is replaced';
  throw new Failure(
    `"fdpasser exec", process ${pid}, has not answered within ${timeout / 1000} s. ${state}. If it is stopped, ` +
      `"kill -CONT ${pid}" has it go on`,
  );
}

/** Calls back when nothing was heard for a time, in which this process was not stopped itself. */
class Clock {
  readonly #timer: NodeJS.Timeout;
  #heard = 0;

  constructor(milliseconds: number, late: () => void) {
    this.#timer = setTimeout(() => {
      const heard = this.#heard;
      afterReading(() => heard === this.#heard && late());
    }, milliseconds);
  }

  heard(): void {
    this.#heard++;
    this.#timer.refresh();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#heard++;
  }
}
