/** The messages at the control path, over an FdChannel. */
import { FdChannel, listen, type FdServer } from '../../index.js';
import { Failure, socketPath } from '../command.js';
import type { Supervisor } from './supervisor.js';

type Request = { ask: 'reload' };
/** The last answer is `done` or `failed`. */
type Answer = { progress: string } | { done: true } | { failed: string };

/** Answers requests of processes of the same user that connect to `path`. */
export function serveControl(path: string, supervisor: Supervisor): FdServer {
  const server = listen(socketPath(path));
  accept(server, supervisor).catch((error: Error) =>
    console.error(`fdpasser: The control path does not work any more: ${error.message}.`),
  );
  return server;
}

async function accept(server: FdServer, supervisor: Supervisor): Promise<void> {
  for await (const connection of server) void answer(new FdChannel(connection, { maxFds: 1 }), supervisor);
}

async function answer(channel: FdChannel, supervisor: Supervisor): Promise<void> {
  const tell = (text: Answer): Promise<void> => channel.send(text).catch(() => {}); // the asker may have gone
  try {
    const { value } = await channel.receive();
    if ((value as Request | null)?.ask !== 'reload') throw new Failure('Only "reload" is understood');
    await supervisor.replace((progress) => void tell({ progress }));
    await tell({ done: true });
  } catch (error) {
    await tell({ failed: (error as Error).message });
  }
  await channel.close();
}

/**
 * Replaces the program of `fdpasser exec` at `path`, and reports the progress. Resolves when that is done, and rejects
 * when it failed.
 */
export async function askReload(path: string, tell: (text: string) => void): Promise<void> {
  const channel = await FdChannel.connect(socketPath(path));
  await channel.send({ ask: 'reload' } satisfies Request);
  for await (const { value } of channel) {
    const answer = value as Answer;
    if ('progress' in answer) tell(answer.progress);
    else if ('failed' in answer) throw new Failure(answer.failed);
    else return channel.close();
  }
  throw new Failure('"fdpasser exec" has ended before it was done');
}
