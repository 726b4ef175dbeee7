import { FdChannel, listen, OwnedFd, peerCredentials, type FdServer } from '../../index.js';
import type { Message } from '../../channel/message.js';
import type { FromKeeper, ToKeeper } from '../../takeover/keeper.js';
import { Gate } from './gate.js';
import type { Listeners, User } from './listeners.js';

/** What the processes of a start tell. */
export interface Heard {
  /** This process serves. */
  serves(pid: number): void;
  /** A process asks the old one to agree that it serves for good. */
  confirming(): void;
  /** It serves for good, or again. */
  up(pid: number): void;
  /** Another takes over from it. */
  reloading(): void;
}

type Asked = Message<ToKeeper, FromKeeper>;

/** Where the processes of one start have their keeper: `Keeper` of the takeover is the other side. */
export class Desk {
  /** Each process passes them in this order. */
  readonly ready = new Gate();
  readonly serving = new Gate();
  readonly #listeners: Listeners;
  readonly #heard: Heard;
  readonly #users = new Set<{ gone: boolean }>();
  readonly #server: FdServer;

  constructor(path: string, listeners: Listeners, heard: Heard) {
    this.#listeners = listeners;
    this.#heard = heard;
    this.#server = listen(path);
    this.#accept().catch((error: Error) => process.emitWarning(error));
  }

  /** Whether it is a process of this start, or was one. */
  has(user: User): boolean {
    return this.#users.has(user);
  }

  /** They are to end: what they close is still used by others, or waits for them. */
  dismiss(): void {
    for (const user of this.#users) this.#left(user);
  }

  close(): void {
    this.#server.close();
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#server) void this.#attend(connection);
  }

  async #attend(connection: OwnedFd): Promise<void> {
    const user = { gone: false };
    this.#users.add(user);
    try {
      const { pid } = peerCredentials(connection);
      const channel = new FdChannel<FromKeeper, ToKeeper>(connection, { maxFds: 1 });
      channel.on('error', () => {}); // the loop ends
      for await (const asked of channel) void this.#answer(asked, user, pid);
    } catch {
      // It has ended.
    }
    this.ready.leave(user);
    this.serving.leave(user);
    this.#left(user);
  }

  #left(user: { gone: boolean }): void {
    user.gone = true;
    this.#listeners.left(user);
  }

  async #answer(asked: Asked, user: User, pid: number): Promise<void> {
    const { value, fds } = asked;
    const [socket] = fds;
    try {
      if (value.ask === 'keep' && socket !== undefined)
        return this.#listeners.keep(value.name, user, socket, rootOf(pid));
      OwnedFd.closeAll(fds);
      if (value.ask === 'drop') this.#listeners.drop(value.name, user);
      else if (value.ask === 'listener') await this.#lend(asked, value.name, user);
      else if (value.ask === 'ready') await reply(asked, this.ready.pass(user));
      else if (value.ask === 'serving') {
        this.#heard.serves(pid);
        await reply(asked, this.serving.pass(user));
      } else if (value.ask === 'confirming') this.#heard.confirming();
      else if (value.ask === 'up') this.#heard.up(pid);
      else if (value.ask === 'reloading') this.#heard.reloading();
    } catch {
      // It has ended, or makes no sense.
    }
  }

  async #lend(asked: Asked, name: string, user: User): Promise<void> {
    const socket = await this.#listeners.get(name, user);
    await (socket === undefined ? asked.reply({}) : asked.reply({}, [socket], { keepOpen: true }));
  }
}

/** Of the file system that the process sees. */
function rootOf(pid: number): string {
  return process.platform === 'linux' ? `/proc/${pid}/root` : '';
}

async function reply(asked: Asked, passed: Promise<void>): Promise<void> {
  await asked.reply(
    await passed.then(
      () => ({}),
      (error: Error) => ({ refused: error.message }),
    ),
  );
}
